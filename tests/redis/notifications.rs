//! A stored token reaches other processes at once.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::store::TokenStore;
use wxsub_core::testing::ManualClock;
use wxsub_core::token::Generation;
use wxsub_test_support::Redis;

use super::store::{Stores, app, token};

/// The clock of the peer stands still after its first read of the change log, so only notifications wake it.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn stored_token_notifies_peer() {
    let redis = Redis::start();
    let clock = Arc::new(ManualClock::new());
    let (one, two) = (redis.store(), redis.builder().clock(clock.clone()).build().unwrap());
    let app = app();
    let first = clock.advance_and_run(Duration::from_secs(2));
    let (change, ()) = tokio::join!(two.wait_for_change(&app, 0), first);
    let mut seen = change.mark;
    for generation in 1..=3 {
        let new = token("A", generation, UnixMillis::new(1_000));
        let put = one.compare_and_set(&app, Generation::new(generation - 1), new);
        let (change, put) = tokio::join!(two.wait_for_change(&app, seen), put);
        put.unwrap();
        seen = change.mark;
    }
}
