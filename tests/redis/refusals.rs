//! What Redis says, and what the store makes of it: a kind of its own, and a remedy.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_core::proto::Remedy;
use wxsub_core::store::{CasOutcome, StoreError, StoreErrorKind, TokenStore};
use wxsub_core::token::Generation;
use wxsub_redis::RedisStore;
use wxsub_test_support::Redis;

use super::store::{Stores, app, token};

async fn read_error(store: &RedisStore) -> StoreError {
    store.load(&app()).await.unwrap_err()
}

/// The error of the check, and that of this operation.
async fn check_both(store: &RedisStore, error: StoreError, kind: StoreErrorKind, remedy: Remedy) {
    check(&error, kind, remedy);
    check(&store.check().await.unwrap_err(), kind, remedy);
}

async fn check_read(store: &RedisStore, kind: StoreErrorKind, remedy: Remedy) {
    check_both(store, read_error(store).await, kind, remedy).await;
}

/// A server without a lease sees the refusal of Redis.
async fn check_write(store: &RedisStore, kind: StoreErrorKind, says: &str) {
    let leased = store.acquire_lease(&app(), "one", Duration::from_secs(5)).await;
    let error = leased.unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    check_both(store, error, kind, Remedy::FixConfig).await;
}

fn check(error: &StoreError, kind: StoreErrorKind, remedy: Remedy) {
    assert_eq!((error.kind(), error.remedy()), (kind, remedy), "{error}");
    let text = error.to_string();
    assert!(!text.contains("SESAME") && !text.contains("SWORDFISH") && !text.contains("OPEN"), "{text}");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn each_refusal_has_its_kind_and_remedy() {
    use Remedy::{FixConfig, RetryLater};
    use StoreErrorKind::{
        Cluster, MissingRight, OutOfMemory, ReadOnly, UnknownHost, Unreachable, WrongCredentials,
    };
    let mut gone = Redis::start();
    gone.kill();
    check_read(&gone.store(), Unreachable, RetryLater).await;

    let unknown = RedisStore::builder("redis://no-such-host.invalid:6379/0").plaintext(true).build().unwrap();
    check_read(&unknown, UnknownHost, FixConfig).await;

    let protected = Redis::with(&["--requirepass", "SESAME"]);
    check_read(&protected.store(), WrongCredentials, FixConfig).await;
    let wrong = protected.builder().password("SWORDFISH").build().unwrap();
    check_read(&wrong, WrongCredentials, FixConfig).await;

    let limited = Redis::start();
    let limited = limited.store_with_rights("~wxsub:* &wxsub:* +@scripting +time +@string");
    check_read(&limited, MissingRight, FixConfig).await;

    let (master, replica) = (Redis::start(), Redis::start());
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    check_write(&replica.store(), ReadOnly, "READONLY").await;

    let full = Redis::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    check_write(&full.store(), OutOfMemory, "OOM").await;

    let cluster = Redis::with(&["--cluster-enabled", "yes"]);
    check_read(&cluster.store(), Cluster, FixConfig).await;
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn password_is_read_again_for_each_connection() {
    let redis = Redis::with(&["--requirepass", "SESAME"]);
    let password = Arc::new(Mutex::new("SWORDFISH".to_owned()));
    let source = Arc::clone(&password);
    let store =
        redis.builder().password_from(move || Some(source.lock().unwrap().clone().into())).build().unwrap();
    check(&read_error(&store).await, StoreErrorKind::WrongCredentials, Remedy::FixConfig);
    "SESAME".clone_into(&mut password.lock().unwrap());
    store.load(&app()).await.unwrap();
}

/// The writer has no right to publish, or to set the expiry. The token is stored all the same.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn write_that_happened_is_no_failure() {
    let redis = Redis::start();
    let store = redis.store_with_rights("~wxsub:* +@hash +@string +@scripting +time");
    let (none, at) = (Generation::default(), UnixMillis::new(1_000));
    let stored = store.compare_and_set(&app(), none, token("A", 5, at)).await.unwrap();
    assert!(matches!(stored, CasOutcome::Stored));
    store.set_in_doubt(&app(), at).await.unwrap();
    assert_eq!(redis.store().load(&app()).await.unwrap().in_doubt_since, Some(at));
}

/// A record that is broken has no token, and is replaced. One of a newer layout is left alone.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn broken_record_is_replaced() {
    let redis = Redis::start();
    let key = |digit: &str| digit.repeat(64).parse().unwrap();
    let store = redis.builder().encryption_key(key("a")).build().unwrap();
    let at = UnixMillis::new(1_000);
    let mut generation = 5;
    store.compare_and_set(&app(), Generation::default(), token("A", 5, at)).await.unwrap();
    for command in [
        "HSET wxsub:{wx1}:record token_encrypted garbage",
        "HDEL wxsub:{wx1}:record token_encrypted",
        "HSET wxsub:{wx1}:record generation 0x10",
        "HSET wxsub:{wx1}:record generation 18446744073709551615",
        "HSET wxsub:{wx1}:record version broken generation x",
        "HDEL wxsub:{wx1}:record lifetime_ms",
        "SET wxsub:{wx1}:record text",
    ] {
        redis.ask(command);
        let record = store.load(&app()).await.unwrap();
        assert!(record.token.is_none(), "{command}");
        let error = record.broken.as_ref().unwrap();
        assert_eq!(error.kind(), StoreErrorKind::BrokenRecord, "{command}");
        generation += 1;
        let new = token("B", generation, at);
        let stored = store.compare_and_set(&app(), record.generation(), new).await.unwrap();
        assert!(matches!(stored, CasOutcome::Stored), "{command}: {stored:?}");
        assert_eq!(store.load(&app()).await.unwrap().generation().get(), generation);
    }
}

/// Current and previous key swap their places, and a write uses the current one.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn encryption_key_is_rotated() {
    let redis = Redis::start();
    let key = |digit: &str| digit.repeat(64).parse().unwrap();
    let old = redis.builder().encryption_key(key("a")).previous_encryption_key(key("b")).build().unwrap();
    let new = redis.builder().encryption_key(key("b")).previous_encryption_key(key("a")).build().unwrap();
    let only_new = redis.builder().encryption_key(key("b")).build().unwrap();
    let now = SystemClock::new().now().wall;
    old.compare_and_set(&app(), Generation::default(), token("A", 5, now)).await.unwrap();
    assert_eq!(new.load(&app()).await.unwrap().generation().get(), 5);
    check(&read_error(&only_new).await, StoreErrorKind::EncryptionKey, Remedy::FixConfig);
    new.compare_and_set(&app(), Generation::new(5), token("B", 6, now)).await.unwrap();
    for store in [&old, &only_new] {
        assert_eq!(store.load(&app()).await.unwrap().generation().get(), 6);
    }
}
