//! The eleven worst faults of a token or a message, and the test of each:
//!
//! | fault | test |
//! |---|---|
//! | the response to a send is lost | `lost_responses::lost_send_response_is_not_retried` |
//! | a send is never answered | `lost_responses::hanging_send_ends_at_its_deadline` |
//! | another process invalidates the token | `external_fetches::externally_invalidated_token_fails_no_send` |
//! | the token endpoint hangs | [`hanging_endpoint_keeps_current_token`] |
//! | a captive portal answers the token call | `lost_responses::odd_token_responses_keep_current_token` |
//! | the response to a refresh is lost, and Weixin goes away | [`lost_refresh_response_in_outage_puts_token_in_doubt`] |
//! | Weixin stays busy | [`busy_weixin_gives_an_error_at_a_bounded_rate`] |
//! | the new token is rejected too | [`second_rejection_ends_the_send`] |
//! | `stable_token` hands out the rejected token | [`rejected_stable_token_is_forced_once`] |
//! | the IP address is removed from the list while a token is valid | [`removed_ip_address_keeps_token_until_expiry`] |
//! | the machine is suspended for two hours | [`suspended_machine_fetches_before_it_sends`] |
//!
//! The worst fault of one process among peers is that it is killed during its fetch. The token cache of `wxsub-core` is tested for that:
//! `crashed_refresher_is_replaced_soon_after_its_lease`.

use std::time::Duration;

use wxsub_core::error::Delivery;
use wxsub_core::proto::{ErrCode, Operation, Remedy};
use wxsub_core::token::{TokenEndpoint, TokenSource};
use wxsub_core::transport::TransportLimits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Harness, Route, SEND, STABLE, TOKEN};

on_every_route!(
    hanging_endpoint_keeps_current_token,
    lost_refresh_response_in_outage_puts_token_in_doubt,
    busy_weixin_gives_an_error_at_a_bounded_rate,
    second_rejection_ends_the_send,
    rejected_stable_token_is_forced_once,
    removed_ip_address_keeps_token_until_expiry,
    suspended_machine_fetches_before_it_sends,
);

const MINUTE: Duration = Duration::from_secs(60);
const UNLIMITED: u64 = 1_000_000;

async fn hanging_endpoint_keeps_current_token(route: Route) {
    let mut settings = AppSettings::default();
    settings.token_lifetime = Duration::from_secs(4);
    settings.overlap = Duration::from_secs(2);
    let harness = Harness::with(route, TokenEndpoint::Token, settings, TransportLimits::default()).await;
    harness.cache.token().await.unwrap();
    for step in 0..200 {
        if step % 40 == 5 {
            harness.sandbox.add_fault(TOKEN, 1, Fault::Hang);
        }
        harness.advance(Duration::from_millis(100)).await;
        assert!(harness.cache.current().get().is_some(), "step {step}");
    }
    harness.client.send(&harness.message("oReader", 1)).await.unwrap();
    let fetches = harness.request_count(TOKEN);
    assert!((10..=20).contains(&fetches), "{fetches} fetches, hanging ones included");
}

async fn lost_refresh_response_in_outage_puts_token_in_doubt(route: Route) {
    let harness = Harness::new(route).await;
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    harness.sandbox.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    harness.sandbox.add_fault(TOKEN, UNLIMITED, Fault::Status(502));
    // The planned refresh comes after about an hour. Four minutes later the current token is in doubt.
    harness.advance(72 * MINUTE).await;
    let status = harness.cache.status();
    assert!(status.is_in_doubt(harness.cache.now()));
    assert!(status.safe_ttl(harness.cache.now()) <= MINUTE && harness.cache.current().get().is_some());
    // Weixin rejects it. The cache drops it at once, and the error says that the message was not sent.
    let message = harness.message("oUser", 2);
    let error = harness.send_while_advancing(&message, MINUTE).await.unwrap_err();
    assert_eq!((error.operation(), error.delivery()), (Operation::FetchToken, Delivery::NotSent), "{error}");
    assert!(error.is_retryable() && harness.cache.current().get().is_none());
    // The cache recovers by itself once Weixin is back.
    harness.sandbox.clear_faults();
    harness.advance(Duration::from_secs(16)).await;
    harness.client.send(&message).await.unwrap();
    assert_eq!(harness.received_count("oUser"), 2);
}

async fn busy_weixin_gives_an_error_at_a_bounded_rate(route: Route) {
    let harness = Harness::new(route).await;
    harness.sandbox.add_fault(TOKEN, UNLIMITED, Fault::ErrCode(ErrCode::SYSTEM_BUSY));
    let message = harness.message("oUser", 1);
    let error = harness.send_while_advancing(&message, 10 * MINUTE).await.unwrap_err();
    assert_eq!((error.delivery(), error.remedy()), (Delivery::NotSent, Remedy::RetryLater), "{error}");
    let requests = harness.request_count(TOKEN);
    assert!((30..=70).contains(&requests), "{requests} requests in ten minutes");
    harness.sandbox.clear_faults();
    harness.advance(Duration::from_secs(16)).await;
    harness.client.send(&message).await.unwrap();
}

async fn second_rejection_ends_the_send(route: Route) {
    let harness = Harness::new(route).await;
    let message = harness.message("oUser", 1);
    harness.sandbox.add_fault(SEND, 2, Fault::ErrCode(ErrCode::INVALID_CREDENTIAL));
    let error = harness.client.send(&message).await.unwrap_err();
    assert_eq!((error.delivery(), error.errcode()), (Delivery::Rejected, Some(ErrCode::INVALID_CREDENTIAL)));
    // The second token is dropped too, and the cache fetches a third one in the background.
    harness.advance(Duration::from_secs(1)).await;
    assert_eq!((harness.request_count(SEND), harness.request_count(TOKEN)), (2, 3));
    harness.client.send(&message).await.unwrap();
    assert_eq!((harness.received_count("oUser"), harness.request_count(TOKEN)), (1, 3));
}

async fn rejected_stable_token_is_forced_once(route: Route) {
    let endpoint = TokenEndpoint::StableToken;
    let harness = Harness::with(route, endpoint, AppSettings::default(), TransportLimits::default()).await;
    let rejected = Fault::ErrCode(ErrCode::INVALID_CREDENTIAL);
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    harness.sandbox.add_fault(SEND, 1, rejected);
    harness.client.send(&harness.message("oUser", 2)).await.unwrap();
    // Fetched at the start, fetched again, and forced because the same token came back.
    assert_eq!((harness.request_count(STABLE), harness.received_count("oUser")), (3, 2));
    // A second forced refresh so soon is not allowed.
    harness.sandbox.add_fault(SEND, 1, rejected);
    let error = harness.send_while_advancing(&harness.message("oUser", 3), MINUTE).await.unwrap_err();
    assert_ne!(error.delivery(), Delivery::MaybeSent, "{error}");
    let newest = harness.sandbox.event_log().events.iter().filter_map(|event| event.token).max();
    assert_eq!((newest, harness.received_count("oUser")), (Some(2), 2), "a third token was issued");
}

async fn removed_ip_address_keeps_token_until_expiry(route: Route) {
    let harness = Harness::new(route).await;
    harness.client.send(&harness.message("oUser", 0)).await.unwrap();
    harness.sandbox.add_fault(TOKEN, UNLIMITED, Fault::ErrCode(ErrCode::new(40164)));
    // The current token is valid until it expires, so messages are sent.
    for scene in 1..12 {
        harness.advance(10 * MINUTE).await;
        harness.client.send(&harness.message("oUser", scene)).await.unwrap();
    }
    let requests = harness.request_count(TOKEN);
    assert!((5..=30).contains(&requests), "{requests} requests in the second hour");
    harness.advance(10 * MINUTE).await;
    let message = harness.message("oUser", 12);
    let error = harness.send_while_advancing(&message, MINUTE).await.unwrap_err();
    assert_eq!((error.delivery(), error.remedy()), (Delivery::NotSent, Remedy::AllowIp), "{error}");
    harness.sandbox.clear_faults();
    harness.advance(6 * MINUTE).await;
    harness.client.send(&message).await.unwrap();
    assert_eq!(harness.received_count("oUser"), 13);
}

async fn suspended_machine_fetches_before_it_sends(route: Route) {
    let harness = Harness::new(route).await;
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    // During suspension the wall clock advances and the monotonic clock stands still.
    harness.clock.set_forward(120 * MINUTE);
    harness.client.send(&harness.message("oUser", 2)).await.unwrap();
    assert_eq!(
        (harness.request_count(TOKEN), harness.request_count(SEND), harness.received_count("oUser")),
        (2, 2, 2)
    );
}
