//! The store passes the conformance suite, also with many writers and with clock skew.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{CasOutcome, LeaseOutcome, MAX_LEASE, StoredToken, TokenStore};
use wxsub_core::testing::{ManualClock, store_conformance};
use wxsub_core::token::Generation;
use wxsub_redis::{RedisStore, RedisStoreBuilder};
use wxsub_test_support::Redis;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The stores of a server.
pub(super) trait Stores {
    fn builder(&self) -> RedisStoreBuilder;

    /// A store of this user, whose password is `OPEN`.
    fn store_of(&self, user: &str) -> RedisStore;

    /// A store of a new user with these rights.
    fn store_with_rights(&self, rights: &str) -> RedisStore;

    fn store(&self) -> RedisStore {
        self.builder().build().unwrap()
    }
}

impl Stores for Redis {
    fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(self.address())
    }

    fn store_of(&self, user: &str) -> RedisStore {
        let address = format!("redis://{user}:OPEN@127.0.0.1:{}/0", self.port);
        RedisStore::builder(address).build().unwrap()
    }

    fn store_with_rights(&self, rights: &str) -> RedisStore {
        self.ask(&format!("ACL SETUSER some on >OPEN {rights}"));
        self.store_of("some")
    }
}

pub(super) fn app() -> AppId {
    "wx1".parse().unwrap()
}

pub(super) fn token(text: &str, generation: u64, asked: UnixMillis) -> StoredToken {
    let generation = Generation::new(generation);
    StoredToken::new(AccessToken::new(text).unwrap(), generation, asked, Duration::from_secs(7200))
}

async fn check_conformance(make: impl Fn(&Redis) -> RedisStore) {
    let redis = Redis::start();
    let make = || {
        redis.ask("FLUSHALL");
        Arc::new(make(&redis)) as Arc<dyn TokenStore>
    };
    store_conformance::run(make).await;
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn store_passes_the_conformance_suite() {
    check_conformance(Redis::store).await;
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn encrypted_store_with_prefix_passes_the_conformance_suite() {
    check_conformance(|redis| {
        redis.builder().encryption_key(KEY.parse().unwrap()).prefix("team-1").build().unwrap()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn one_of_a_hundred_concurrent_writes_succeeds() {
    let redis = Redis::start();
    let stores: Vec<_> = (0..4).map(|_| Arc::new(redis.store())).collect();
    let (app, mut held) = (app(), 0);
    for round in 1..=10_u64 {
        let puts = (0..100_u64).map(|n| {
            let store = Arc::clone(&stores[usize::try_from(n % 4).unwrap()]);
            let new = token(&format!("T{n}"), round * 1000 + n, UnixMillis::new(1_000));
            let app = app.clone();
            async move { (n, store.compare_and_set(&app, Generation::new(held), new).await.unwrap()) }
        });
        let stored: Vec<_> =
            join_all(puts).await.into_iter().filter(|(_, put)| matches!(put, CasOutcome::Stored)).collect();
        assert_eq!(stored.len(), 1);
        held = round * 1000 + stored[0].0;
        assert_eq!(stores[0].load(&app).await.unwrap().generation().get(), held);
    }
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn one_of_a_hundred_gets_the_lease_and_it_expires() {
    let redis = Redis::start();
    let (store, app) = (redis.store(), app());
    let asks = (0..100).map(|n| {
        let (store, app) = (&store, &app);
        async move { store.acquire_lease(app, &format!("holder{n}"), MAX_LEASE).await.unwrap() }
    });
    assert_eq!(
        join_all(asks).await.into_iter().filter(|outcome| *outcome == LeaseOutcome::Acquired).count(),
        1
    );
    let left = redis.ask("PTTL wxsub:{wx1}:lease");
    let left: u128 =
        left.lines().next().unwrap().strip_prefix(':').unwrap().parse().expect("the lease has no expiry");
    assert!((1..=MAX_LEASE.as_millis()).contains(&left), "{left}");
    redis.ask("PEXPIRE wxsub:{wx1}:lease 0");
    assert_eq!(store.acquire_lease(&app, "late", MAX_LEASE).await.unwrap(), LeaseOutcome::Acquired);
}

/// The causes: PERSIST, a dump that was restored, and the clock of Redis, which was set back.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn lease_without_end_counts_as_free() {
    let redis = Redis::start();
    let (store, app) = (redis.store(), app());
    let acquire =
        async |store: &RedisStore, holder| store.acquire_lease(&app, holder, MAX_LEASE).await.unwrap();
    let held = LeaseOutcome::HeldBy("one".to_owned());
    for command in ["PERSIST wxsub:{wx1}:lease", "PEXPIRE wxsub:{wx1}:lease 3600000"] {
        acquire(&store, "one").await;
        assert_eq!(acquire(&store, "two").await, held);
        redis.ask(command);
        assert_eq!(acquire(&store, "two").await, LeaseOutcome::Acquired, "{command}");
        store.release_lease(&app, "two").await.unwrap();
    }
    redis.ask("HSET wxsub:{wx1}:lease no string");
    assert_eq!(acquire(&store, "two").await, LeaseOutcome::Acquired, "a key of another type");
    store.release_lease(&app, "two").await.unwrap();
    // Without the right to see its end, each lease counts.
    let old = redis.store_with_rights("~wxsub:* &wxsub:* +@hash +@string +@scripting +time");
    acquire(&store, "one").await;
    assert_eq!(acquire(&old, "two").await, held);
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn servers_with_clock_skew_agree_on_token_expiry() {
    let redis = Redis::start();
    let (right, ahead) = (Arc::new(ManualClock::new()), Arc::new(ManualClock::new()));
    ahead.set_forward(Duration::from_secs(600));
    let on = |clock: &Arc<ManualClock>| redis.builder().clock(clock.clone()).build().unwrap();
    let (one, two, app) = (on(&right), on(&ahead), app());
    let put =
        one.compare_and_set(&app, Generation::default(), token("A", 7, right.now().wall)).await.unwrap();
    assert!(matches!(put, CasOutcome::Stored));
    let left =
        |clock: &ManualClock, stored: &StoredToken| stored.to_cached(clock.now()).remaining(clock.now());
    for (store, clock) in [(&one, &right), (&two, &ahead)] {
        let stored = store.load(&app).await.unwrap().token.unwrap();
        let left = left(clock, &stored);
        assert!(left > Duration::from_secs(7195) && left <= Duration::from_secs(7200), "{left:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn suspension_during_load_makes_token_no_younger() {
    let redis = Redis::start();
    let clock = Arc::new(ManualClock::new());
    let (store, app) = (redis.builder().clock(clock.clone()).build().unwrap(), app());
    store.compare_and_set(&app, Generation::default(), token("A", 7, clock.now().wall)).await.unwrap();
    let stands_still = async { clock.advance(Duration::from_secs(600)) };
    let (record, ()) = tokio::join!(store.load(&app), stands_still);
    let left = record.unwrap().token.unwrap().to_cached(clock.now()).remaining(clock.now());
    assert!(left <= Duration::from_secs(6600), "{left:?}");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn record_of_later_layout_is_rejected_and_kept() {
    let redis = Redis::start();
    let (store, app) = (redis.store(), app());
    redis.ask("HSET wxsub:{wx1}:record version 2 generation 5 token X");
    let now = UnixMillis::new(1_800_000_000_000);
    let put = store.compare_and_set(&app, Generation::new(5), token("A", 6, now)).await;
    for error in [
        store.load(&app).await.err(),
        put.err(),
        store.set_in_doubt(&app, now).await.err(),
        store.try_acquire_force_refresh(&app, now).await.err(),
    ] {
        let text = error.unwrap().to_string();
        assert!(text.contains("has layout 2, and this version knows layout 1"), "{text}");
    }
    assert!(redis.ask("HGETALL wxsub:{wx1}:record").ends_with("$1\r\nX\r\n+OK\r\n"));
}

/// No server wrote it. Each change replaces it, also one that needs no token.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn record_of_another_type_is_broken_until_the_next_change() {
    let redis = Redis::start();
    let (store, app, now) = (redis.store(), app(), UnixMillis::new(1_800_000_000_000));
    let break_record = async || {
        redis.ask("SET wxsub:{wx1}:record text");
        assert!(store.load(&app).await.unwrap().broken.is_some());
    };
    break_record().await;
    assert!(store.try_acquire_force_refresh(&app, now).await.unwrap());
    assert!(!store.try_acquire_force_refresh(&app, now).await.unwrap(), "it was counted");
    break_record().await;
    store.set_in_doubt(&app, now).await.unwrap();
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, Some(now));
    break_record().await;
    let put = store.compare_and_set(&app, Generation::default(), token("A", 5, now)).await.unwrap();
    assert!(matches!(put, CasOutcome::Stored), "{put:?}");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn unknown_fields_are_kept_and_record_outlives_token() {
    let redis = Redis::start();
    let (store, app) = (redis.store(), app());
    store.compare_and_set(&app, Generation::default(), token("A", 5, UnixMillis::new(1_000))).await.unwrap();
    redis.ask("HSET wxsub:{wx1}:record of_a_later_version 1");
    store.compare_and_set(&app, Generation::new(5), token("B", 6, UnixMillis::new(1_000))).await.unwrap();
    assert_eq!(store.load(&app).await.unwrap().token.unwrap().token.expose_secret(), "B");
    assert!(redis.ask("HGET wxsub:{wx1}:record of_a_later_version").contains("$1\r\n1"));
    let days: u64 = redis.ask("TTL wxsub:{wx1}:record")[1..].lines().next().unwrap().parse().unwrap();
    assert!((29..=30).contains(&(days / 86_400)));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn encrypted_store_publishes_and_sends_no_plain_token() {
    let redis = Redis::start();
    let (plain, app) = (redis.store(), app());
    let sealing = redis.builder().encryption_key(KEY.parse().unwrap()).build().unwrap();
    let monitor = redis.monitor();
    let now = SystemClock::new().now().wall;
    sealing.compare_and_set(&app, Generation::default(), token("PLANTED", 5, now)).await.unwrap();
    assert_eq!(sealing.load(&app).await.unwrap().token.unwrap().token.expose_secret(), "PLANTED");
    let asked = seen(&redis, monitor);
    assert!(asked.contains("token_encrypted") && !asked.contains("PLANTED"), "{asked}");
    assert!(asked.contains(r#""PUBLISH" "wxsub:{wx1}:changes" "5""#), "{asked}");
    let error = plain.load(&app).await.unwrap_err().to_string();
    assert!(error.contains("there is no encryption key here"), "{error}");
    let other = redis.builder().encryption_key("ab".repeat(32).parse().unwrap()).build().unwrap();
    assert!(other.load(&app).await.unwrap_err().to_string().contains("same encryption key"));
}

/// What a monitor has received up to now.
fn seen(redis: &Redis, mut monitor: TcpStream) -> String {
    redis.ask("ECHO last");
    let mut all = Vec::new();
    let mut piece = [0; 65_536];
    while !String::from_utf8_lossy(&all).contains("\"ECHO\" \"last\"") {
        let read = monitor.read(&mut piece).unwrap();
        assert!(read > 0, "Redis closed the connection");
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
