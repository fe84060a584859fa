//! What Redis says, and what the store makes of it: a kind of its own, and a remedy.

use std::time::Duration;

use wxsub_core::proto::Remedy;
use wxsub_core::store::{StoreError, StoreErrorKind, TokenStore};
use wxsub_redis::RedisStore;

use super::server::Redis;
use super::store::app;

async fn read_error(store: &RedisStore) -> StoreError {
    store.load(&app()).await.unwrap_err()
}

async fn write_error(store: &RedisStore) -> StoreError {
    store.acquire_lease(&app(), "one", Duration::from_secs(5)).await.unwrap_err()
}

fn check(error: &StoreError, kind: StoreErrorKind, remedy: Remedy) {
    assert_eq!((error.kind(), error.remedy()), (kind, remedy), "{error}");
    let text = error.to_string();
    assert!(!text.contains("SESAME") && !text.contains("SWORDFISH"), "{text}");
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
    check(&read_error(&gone.store()).await, Unreachable, RetryLater);

    let unknown = RedisStore::builder("redis://no-such-host.invalid:6379/0").build().unwrap();
    check(&read_error(&unknown).await, UnknownHost, FixConfig);

    let protected = Redis::with(&["--requirepass", "SESAME"]);
    check(&read_error(&protected.store()).await, WrongCredentials, FixConfig);
    let wrong = protected.builder().password("SWORDFISH").build().unwrap();
    check(&read_error(&wrong).await, WrongCredentials, FixConfig);

    let limited = Redis::start();
    limited.ask("ACL SETUSER limited on >SESAME ~wxsub:* &wxsub:* +@scripting +time +@string");
    let user =
        RedisStore::builder(format!("redis://limited@127.0.0.1:{}/0", limited.port)).password("SESAME");
    check(&read_error(&user.build().unwrap()).await, MissingRight, FixConfig);

    let (master, replica) = (Redis::start(), Redis::start());
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    check(&write_error(&replica.store()).await, ReadOnly, FixConfig);

    let full = Redis::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    check(&write_error(&full.store()).await, OutOfMemory, FixConfig);

    let cluster = Redis::with(&["--cluster-enabled", "yes"]);
    check(&read_error(&cluster.store()).await, Cluster, FixConfig);
}
