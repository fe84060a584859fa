//! Tokens that live a few seconds, read through several lifetimes.

use std::time::Duration;

use wxsub_core::token::TokenSource;
use wxsub_core::transport::TransportLimits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Harness, Route, TOKEN};

on_every_route!(refresh_ahead_keeps_readers_from_waiting, hanging_endpoint_keeps_current_token);

const LIFETIME: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(100);

async fn with_short_tokens(route: Route) -> Harness {
    let mut settings = AppSettings::default();
    settings.token_lifetime = LIFETIME;
    settings.overlap = Duration::from_secs(2);
    let harness = Harness::with(route, settings, TransportLimits::default()).await;
    harness.cache.token().await.unwrap();
    harness
}

/// Reads the token without waiting, and checks that Weixin accepts it.
async fn read(harness: &Harness, scene: u16) {
    assert!(harness.cache.current().get().is_some());
    harness.client.send(&harness.message("oReader", scene)).await.unwrap();
}

async fn refresh_ahead_keeps_readers_from_waiting(route: Route) {
    let harness = with_short_tokens(route).await;
    let lifetimes = 5;
    for step in 0..lifetimes * 40 {
        harness.advance(STEP).await;
        read(&harness, step).await;
    }
    let fetches = harness.request_count(TOKEN);
    // A token is replaced at half of its lifetime ± 10 %.
    assert!(
        (u64::from(lifetimes) * 2 - 1..=u64::from(lifetimes) * 2 + 3).contains(&fetches),
        "{fetches} fetches"
    );
}

async fn hanging_endpoint_keeps_current_token(route: Route) {
    let harness = with_short_tokens(route).await;
    for step in 0..200 {
        if step % 40 == 5 {
            harness.sandbox.add_fault(TOKEN, 1, Fault::Hang);
        }
        harness.advance(STEP).await;
        assert!(harness.cache.current().get().is_some(), "step {step}");
    }
    read(&harness, 1).await;
    let fetches = harness.request_count(TOKEN);
    assert!((10..=20).contains(&fetches), "{fetches} fetches, hanging ones included");
}
