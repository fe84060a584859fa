//! Another process fetches tokens for our app.

use std::time::Duration;

use wxsub_core::token::TokenSource;
use wxsub_tests::{Harness, Route, SEND, TOKEN};

on_every_route!(externally_invalidated_token_fails_no_send);

async fn externally_invalidated_token_fails_no_send(route: Route) {
    let harness = Harness::new(route).await;
    let mut before = None;
    for minute in 0..30 {
        harness.client.send(&harness.message("oUser", minute)).await.unwrap();
        let current = harness.cache.current().get().map(|token| token.generation());
        assert!(current > before, "minute {minute}");
        before = current;
        harness.invalidate_tokens();
        harness.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(
        (harness.request_count(TOKEN), harness.request_count(SEND), harness.received_count("oUser")),
        (30, 59, 30)
    );
}
