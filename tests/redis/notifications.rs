//! A stored token reaches other processes at once.

use wxsub_core::clock::UnixMillis;
use wxsub_core::store::TokenStore;
use wxsub_core::token::Generation;

use super::server::Redis;
use super::store::{app, token};

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn stored_token_notifies_peer() {
    let redis = Redis::start();
    let (one, two, app) = (redis.store(), redis.store(), app());
    // It subscribes with its first connection.
    two.load(&app).await.unwrap();
    let tells = async {
        one.compare_and_set(&app, Generation::default(), token("A", 5, UnixMillis::new(1_000)))
            .await
            .unwrap();
    };
    let (heard, ()) = tokio::join!(two.wait_for_change(&app, Generation::new(4)), tells);
    assert_eq!(heard, Generation::new(5));
    assert_eq!(
        two.wait_for_change(&app, Generation::default()).await,
        heard,
        "the notification is delivered once more"
    );
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn store_works_without_permission_to_subscribe() {
    let redis = Redis::start();
    redis.ask("ACL SETUSER nosub on >OPEN ~wxsub:* &wxsub:* +@hash +@scripting +time +expire +publish");
    let user = format!("redis://nosub:OPEN@127.0.0.1:{}/0", redis.port);
    let nosub = wxsub_redis::RedisStore::builder(user).build().unwrap();
    let put = token("A", 5, UnixMillis::new(1_000));
    nosub.compare_and_set(&app(), Generation::default(), put).await.unwrap();
    assert_eq!(nosub.load(&app()).await.unwrap().generation().get(), 5);
}
