//! A server with another upstream that uses the same Redis and prefix by mistake. It must leave the record of the cluster alone.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use wxsub_core::store::ChangeWatcher;
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, TransportError, TransportErrorKind};

use super::invariants::Invariants;
use super::server::{App, READ_INTERVAL};
use super::store_link::StoreLink;

/// It starts when the cluster has stored a token.
const START: Duration = Duration::from_secs(60);

/// Runs it until the end. Its upstream is unreachable, so that it never has a token of its own.
pub(super) async fn run(app: App, invariants: Arc<Invariants>, end: Duration, mut rng: Rng) {
    let clock = Arc::clone(&invariants.clock);
    let (oracle, redis, appid) =
        (Arc::clone(&invariants.oracle), Arc::clone(&invariants.redis), app.appid.clone());
    let on_lease = move |_| {
        if redis.has_valid_token(&appid) {
            oracle.report_violation("a server with another upstream takes the lease");
        }
    };
    let store = StoreLink {
        server: usize::MAX,
        redis: Arc::clone(&invariants.redis),
        clock: Arc::clone(&clock),
        faults: Vec::new(),
        on_lease: Box::new(on_lease),
        rng: Mutex::new(rng.fork()),
        watcher: Mutex::new(Arc::new(ChangeWatcher::new(clock.clone()))),
        connection: AtomicU64::default(),
    };
    clock.wait_until(START).await;
    let unreachable = |_: HttpRequest| async {
        Err(TransportError::before_sending(TransportErrorKind::Connect, "connection refused"))
    };
    let cache = TokenCache::builder(app.appid, app.secret, unreachable)
        .api_base("https://staging.example".parse().unwrap())
        .clock(clock.clone())
        .endpoint(app.endpoint)
        .store(store)
        .jitter_seed(rng.u64(..))
        .build()
        .unwrap();
    while clock.elapsed() < end {
        let _ = cache.token().await;
        if cache.current().get().is_some() {
            invariants
                .oracle
                .report_violation("a server with another upstream holds the token of the cluster");
        }
        clock.sleep(READ_INTERVAL).await;
    }
}
