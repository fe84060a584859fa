//! What one process stores, the others hear of at once.

use wxsub_core::clock::UnixMillis;
use wxsub_core::store::TokenStore;
use wxsub_core::token::Generation;

use super::server::Redis;
use super::store::{app, token};

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn a_token_that_one_stores_the_other_hears_of() {
    let redis = Redis::start();
    let (one, two, app) = (redis.store(), redis.store(), app());
    // It listens from its first connection on.
    two.load(&app).await.unwrap();
    let tells = async {
        one.compare_and_set(&app, Generation::default(), token("A", 5, UnixMillis::new(1_000)))
            .await
            .unwrap();
    };
    let (heard, ()) = tokio::join!(two.wait_for_change(&app, Generation::new(4)), tells);
    assert_eq!(heard, Generation::new(5));
    assert_eq!(two.wait_for_change(&app, Generation::default()).await, heard, "it is not forgotten");
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn a_user_who_may_not_listen_reads_and_writes_all_the_same() {
    let redis = Redis::start();
    redis.ask("ACL SETUSER deaf on >OPEN ~wxsub:* &wxsub:* +@hash +@scripting +time +expire +publish");
    let user = format!("redis://deaf:OPEN@127.0.0.1:{}/0", redis.port);
    let deaf = wxsub_redis::RedisStore::builder(user).build().unwrap();
    let put = token("A", 5, UnixMillis::new(1_000));
    deaf.compare_and_set(&app(), Generation::default(), put).await.unwrap();
    assert_eq!(deaf.load(&app()).await.unwrap().generation().get(), 5);
}
