//! Another process fetches tokens for our app, or our own requests are refused.

use std::time::Duration;

use wxsub_core::proto::{ErrCode, Remedy};
use wxsub_core::token::Evidence;
use wxsub_core::token::TokenSource;
use wxsub_core::transport::TransportLimits;
use wxsub_sandbox::AppSettings;
use wxsub_tests::{Harness, Route, SEND, TOKEN, app};

on_every_route!(
    externally_invalidated_token_fails_no_send,
    external_fetch_every_minute_fails_no_send,
    late_report_gets_current_token,
    frozen_secret_slows_attempts_down,
);

async fn externally_invalidated_token_fails_no_send(route: Route) {
    let harness = Harness::new(route).await;
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    let before = harness.cache.current().get().unwrap().generation();
    harness.sandbox.invalidate_tokens(&app()).unwrap();
    harness.client.send(&harness.message("oUser", 2)).await.unwrap();
    assert!(harness.cache.current().get().unwrap().generation() > before);
    assert_eq!(
        (harness.request_count(TOKEN), harness.request_count(SEND), harness.received_count("oUser")),
        (2, 3, 2)
    );
}

async fn external_fetch_every_minute_fails_no_send(route: Route) {
    let harness = Harness::new(route).await;
    for minute in 0..30 {
        harness.client.send(&harness.message("oUser", minute)).await.unwrap();
        harness.sandbox.invalidate_tokens(&app()).unwrap();
        harness.advance(Duration::from_secs(60)).await;
    }
    assert_eq!((harness.received_count("oUser"), harness.request_count(TOKEN)), (30, 30));
}

async fn late_report_gets_current_token(route: Route) {
    let harness = Harness::new(route).await;
    let reported = harness.cache.token().await.unwrap().generation();
    let fresh = harness.cache.refresh(reported, Evidence::Reported).await.unwrap();
    assert!(fresh.generation() > reported);
    // A report of an older token gets the current token and starts no fetch.
    for _ in 0..100 {
        let current = harness.cache.refresh(reported, Evidence::Reported).await.unwrap();
        assert_eq!(current.generation(), fresh.generation());
    }
    assert_eq!(harness.request_count(TOKEN), 2);
}

async fn frozen_secret_slows_attempts_down(route: Route) {
    let mut frozen = AppSettings::default();
    frozen.frozen = true;
    let harness = Harness::with(route, frozen, TransportLimits::default()).await;
    let message = harness.message("oUser", 1);
    let error = harness.client.send(&message).await.unwrap_err();
    assert_eq!((error.errcode(), error.remedy()), (Some(ErrCode::SECRET_FROZEN), Remedy::FixConfig));
    harness.advance(Duration::from_secs(1800)).await;
    let requests = harness.request_count(TOKEN);
    assert!((7..=20).contains(&requests), "{requests} requests in half an hour");
    harness.sandbox.configure(&app(), AppSettings::default()).unwrap();
    harness.advance(Duration::from_secs(301)).await;
    harness.client.send(&message).await.unwrap();
    assert_eq!(harness.received_count("oUser"), 1);
}
