//! Redis is unavailable, protected, replaced, read-only or slow. Errors come in time, hold no secret, and end with their cause.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::store::{CasOutcome, StoreError, StoreErrorKind, TokenStore};
use wxsub_core::token::Generation;
use wxsub_redis::{RedisStore, RedisStoreBuilder};
use wxsub_test_support::{Authority, Redis};

use super::certificates::Behind;
use super::sentinel::{MASTER, Sentinel};
use super::store::{Stores, app, token};

/// The ACL rule of docs/cluster.md for the user of the store, with this password.
pub(super) fn rule(password: &str) -> String {
    let guide = include_str!("../../docs/cluster.md");
    let rule = guide.lines().find(|line| line.starts_with("ACL SETUSER wxsub ")).unwrap();
    rule.replace("PASSWORD", password)
}

/// How long the store may take, with a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(20);

/// The response of the store, within that time.
async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let clock = SystemClock::new();
    let began = clock.now().mono;
    let answer = work.await;
    assert!(clock.now().mono.duration_since(began) < IN_TIME);
    answer
}

async fn error(store: &RedisStore) -> String {
    in_time(store.load(&app())).await.unwrap_err().to_string()
}

/// Waits for a condition.
async fn wait_for(what: &str, mut found: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    for _ in 0..1200 {
        if found().await {
            return;
        }
        clock.sleep_until(clock.now().mono + Duration::from_millis(100)).await;
    }
    panic!("{what}: timed out");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn store_works_as_soon_as_redis_runs() {
    let mut redis = Redis::start();
    redis.kill();
    let store = redis.store();
    for _ in 0..2 {
        let text = error(&store).await;
        assert!(text.starts_with("the token store does not answer: Redis: "), "{text}");
        let _ = error(&store).await;
        redis.start_again();
        store.load(&app()).await.unwrap();
        redis.kill();
    }
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn suspended_redis_times_out_and_store_recovers() {
    let redis = Redis::start();
    let store = redis.store();
    store.load(&app()).await.unwrap();
    redis.signal("STOP");
    let text = error(&store).await;
    assert!(text.contains("timed out"), "{text}");
    redis.signal("CONT");
    store.load(&app()).await.unwrap();
}

/// Redis carries out a write long after it was sent. Its sender has given up.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn late_write_makes_token_no_younger() {
    let redis = Redis::start();
    let (store, app) = (redis.store(), app());
    store.load(&app).await.unwrap();
    redis.signal("STOP");
    let now = SystemClock::new().now().wall;
    let write = store.compare_and_set(&app, Generation::default(), token("A", 5, now));
    assert_eq!(in_time(write).await.unwrap_err().kind(), StoreErrorKind::Unreachable);
    redis.signal("CONT");
    wait_for("the late write", async || redis.ask("EXISTS wxsub:{wx1}:record").starts_with(":1")).await;
    let age = redis.ask("HGET wxsub:{wx1}:record age_ms");
    let age: u64 = age.lines().nth(1).unwrap().parse().unwrap();
    // The sender waited 1500 ms.
    assert!(age >= 1_400, "{age} ms");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn wrong_credentials_fail_without_showing_secrets() {
    let redis = Redis::with(&["--requirepass", "SESAME"]);
    redis.builder().password("SESAME").build().unwrap().load(&app()).await.unwrap();
    let wrong = redis.builder().password("SWORDFISH").build().unwrap();
    let text = error(&wrong).await;
    assert!(!text.contains("SWORDFISH") && !text.contains("SESAME"), "{text}");
    let _ = error(&redis.store()).await;
    // A user with only the permissions that the store needs.
    let rule = rule("OPEN");
    assert!(redis.ask(&format!("AUTH SESAME\r\n{rule}")).contains("+OK\r\n+OK"));
    let user = format!("redis://wxsub@127.0.0.1:{}/0", redis.port);
    let limited = RedisStore::builder(&user).password("OPEN").build().unwrap();
    wxsub_core::testing::store_conformance::run(|| {
        redis.ask("AUTH SESAME\r\nFLUSHALL");
        std::sync::Arc::new(RedisStore::builder(&user).password("OPEN").build().unwrap())
    })
    .await;
    limited.load(&app()).await.unwrap();
    let elsewhere = RedisStore::builder(&user).password("OPEN").prefix("other").build().unwrap();
    assert!(error(&elsewhere).await.contains("lacks a right"));
}

fn through(sentinels: &[&Sentinel]) -> RedisStore {
    let hosts: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    RedisStore::builder(format!("redis://{}/0", hosts.join(","))).sentinel_master(MASTER).build().unwrap()
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn record_survives_sentinel_failover() {
    let (mut master, replica, app) = (Redis::start(), Redis::start(), app());
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let sentinel = Sentinel::watching(&master);
    let store = through(&[&sentinel]);
    let (first, second) = (Generation::new(5), Generation::new(6));
    let put = |replaces, generation: Generation| {
        store.compare_and_set(&app, replaces, token("A", generation.get(), UnixMillis::new(1_000)))
    };
    put(Generation::default(), first).await.unwrap();
    wait_for("the replica is ready", async || {
        sentinel.knows(&replica) && replica.ask("HGET wxsub:{wx1}:record generation").contains("$1\r\n5")
    })
    .await;
    master.kill();
    error(&store).await;
    let mut stored = None;
    wait_for("another master", async || {
        stored = in_time(put(first, second)).await.ok();
        stored.is_some()
    })
    .await;
    assert!(matches!(stored, Some(CasOutcome::Stored)), "the record is lost: {stored:?}");
    assert_eq!(in_time(store.load(&app)).await.unwrap().generation(), second);
    assert!(replica.ask("HGET wxsub:{wx1}:record generation").contains("$1\r\n6"));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn unavailable_sentinel_is_skipped() {
    let master = Redis::start();
    let (still, gone, good) =
        (Sentinel::watching(&master), Sentinel::watching(&master), Sentinel::watching(&master));
    let store = through(&[&still, &gone, &good]);
    still.suspend();
    drop(gone);
    in_time(store.load(&app())).await.unwrap();
    drop(good);
    // The connection to the master stays open.
    in_time(store.load(&app())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn tls_rejects_redis_of_unknown_authority() {
    let behind = Behind::tls();
    assert!(behind.redis.ask(&rule("SESAME")).starts_with("+OK"));
    let store = |builder: RedisStoreBuilder| builder.build().unwrap();
    let trusted =
        |user: &str| RedisStore::builder(behind.address(user)).certificate_authorities(&*behind.authority);
    in_time(store(trusted("")).load(&app())).await.unwrap();
    in_time(store(trusted("wxsub@").password("SESAME")).load(&app())).await.unwrap();
    let wrong = error(&store(trusted("wxsub@").password("SWORDFISH"))).await;
    assert!(!wrong.contains("SWORDFISH") && !wrong.contains("SESAME"), "{wrong}");
    let address = || RedisStore::builder(behind.address("wxsub@")).password("SESAME");
    for untrusting in [address().certificate_authorities(Authority::new("unknown").pem), address()] {
        let text = error(&store(untrusting)).await;
        assert!(text.contains("UnknownIssuer") && !text.contains("SESAME"), "{text}");
    }
}
