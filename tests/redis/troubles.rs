//! Redis away, back, protected, read-only or slow: errors come in time, hold no secret, and end with their cause.

use std::time::Duration;

use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::proto::AppId;
use wxsub_core::store::TokenStore;
use wxsub_redis::RedisStore;

use super::server::Redis;

fn app() -> AppId {
    "wx1".parse().unwrap()
}

/// How long the store may take, with room for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(20);

async fn error(store: &RedisStore) -> String {
    let clock = SystemClock::new();
    let began = clock.now().mono;
    let error = store.load(&app()).await.unwrap_err().to_string();
    assert!(clock.now().mono.since(began) < IN_TIME);
    error
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn redis_comes_back_and_so_does_the_store() {
    let mut redis = Redis::start();
    let store = redis.store();
    store.load(&app()).await.unwrap();
    redis.kill();
    let text = error(&store).await;
    assert!(text.starts_with("the token store failed: Redis: "), "{text}");
    let _ = error(&store).await;
    redis.start_again();
    store.load(&app()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn a_store_can_be_made_before_redis_runs() {
    let mut redis = Redis::start();
    redis.kill();
    let store = redis.store();
    let _ = error(&store).await;
    redis.start_again();
    store.load(&app()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn a_redis_that_stands_still_is_given_up_and_found_again() {
    let redis = Redis::start();
    let store = redis.store();
    store.load(&app()).await.unwrap();
    redis.signal("-STOP");
    let text = error(&store).await;
    assert!(text.contains("timed out"), "{text}");
    redis.signal("-CONT");
    store.load(&app()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn passwords_and_users_are_checked_and_never_shown() {
    let redis = Redis::with(&["--requirepass", "SESAME"]);
    redis.builder().password("SESAME").build().unwrap().load(&app()).await.unwrap();
    let wrong = redis.builder().password("SWORDFISH").build().unwrap();
    let text = error(&wrong).await;
    assert!(!text.contains("SWORDFISH") && !text.contains("SESAME"), "{text}");
    let _ = error(&redis.store()).await;
    // A user who may do what the store does and nothing else.
    let rule = "ACL SETUSER wxsub on >OPEN ~wxsub:* &wxsub:* +@hash +@string +@scripting +time +del +expire +publish +ping";
    assert!(redis.ask(&format!("AUTH SESAME\r\n{rule}")).contains("+OK\r\n+OK"));
    let user = format!("redis://wxsub@127.0.0.1:{}/0", redis.port);
    let limited = RedisStore::builder(&user).password("OPEN").build().unwrap();
    wxsub_core::testing::store_contract::run(|| {
        redis.ask("AUTH SESAME\r\nFLUSHALL");
        std::sync::Arc::new(RedisStore::builder(&user).password("OPEN").build().unwrap())
    })
    .await;
    limited.load(&app()).await.unwrap();
    let elsewhere = RedisStore::builder(&user).password("OPEN").prefix("other").build().unwrap();
    assert!(error(&elsewhere).await.contains("NOPERM"));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn a_replica_that_is_read_only_gives_no_lease() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let leased = replica.store().lease(&app(), "one", Duration::from_secs(30)).await;
    assert!(leased.unwrap_err().to_string().contains("READONLY"));
}
