//! A slow Redis, in virtual time: only its responses move the clocks, so the speed of the machine does not matter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use wxsub_core::clock::{Clock, timeout_at};
use wxsub_core::store::TokenStore;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenEvent, TokenOrigin, TokenSource};
use wxsub_redis::RedisStore;
use wxsub_test_support::Redis;

use super::store::app;

/// How long a connection takes to open, and each response to arrive.
const LATENCY: Duration = Duration::from_millis(500);

/// A proxy to Redis that lets time pass.
struct SlowProxy {
    port: u16,
    clock: Arc<ManualClock>,
    connections: Arc<AtomicUsize>,
    /// While it exists, tokio does not move its clock by itself.
    _hold: std::sync::mpsc::Sender<()>,
}

impl SlowProxy {
    async fn to(redis: &Redis) -> Self {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (clock, connections) = (Arc::new(ManualClock::new()), Arc::new(AtomicUsize::new(0)));
        let (to, time, count) = (redis.port, Arc::clone(&clock), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(near, to, Arc::clone(&time)));
            }
        });
        Self { port, clock, connections, _hold: hold }
    }

    fn store(&self) -> RedisStore {
        let address = format!("redis://127.0.0.1:{}/0", self.port);
        RedisStore::builder(address).clock(Arc::<ManualClock>::clone(&self.clock)).build().unwrap()
    }
}

async fn relay(near: TcpStream, to: u16, clock: Arc<ManualClock>) {
    pass_time(&clock).await;
    let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (near.into_split(), far.into_split());
    let responses = async {
        let mut piece = [0; 16_384];
        while let Ok(read @ 1..) = far_read.read(&mut piece).await {
            pass_time(&clock).await;
            if near_write.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = responses => {}
        _ = copy(&mut near_read, &mut far_write) => {}
    }
}

async fn pass_time(clock: &ManualClock) {
    clock.advance(LATENCY);
    tokio::time::advance(LATENCY).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn slow_redis_is_no_failure_at_start() {
    let redis = Redis::start();
    let proxy = SlowProxy::to(&redis).await;
    let weixin = MockTransport::new();
    weixin.respond_once("/cgi-bin/token", MockResponse::json(r#"{"access_token":"A","expires_in":7200}"#));
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let cache = TokenCache::builder(app(), "SECRET", weixin)
        .clock(Arc::<ManualClock>::clone(&proxy.clock))
        .store(proxy.store())
        .on_event(move |event| seen.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    cache.token().await.unwrap();
    let events = events.lock().unwrap();
    // A read of the store may show the token before its own write is confirmed.
    let [TokenEvent::Refreshed { origin, .. }] = &events[..] else { panic!("{events:?}") };
    assert_ne!(*origin, TokenOrigin::FetchedWithoutLease);
}

/// Callers give up before the connection is open. The next one does not begin again.
#[tokio::test(start_paused = true)]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn connection_opens_although_its_callers_give_up() {
    let redis = Redis::start();
    let proxy = SlowProxy::to(&redis).await;
    let (store, app) = (proxy.store(), app());
    let mut loaded = None;
    for _ in 0..20 {
        let deadline = proxy.clock.now().mono + LATENCY * 3 / 2;
        loaded = timeout_at(&*proxy.clock, deadline, store.load(&app)).await;
        if loaded.is_some() {
            break;
        }
    }
    assert!(loaded.is_some_and(|loaded| loaded.is_ok()), "it never opened");
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 1);
}
