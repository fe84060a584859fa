//! Lost and odd responses. A message is posted once, and the error says that it may have arrived.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{advance, pause};
use wxsub_core::error::{Delivery, ErrorKind};
use wxsub_core::transport::TransportLimits;
use wxsub_sandbox::Fault;
use wxsub_tests::{Harness, Route, SEND, TOKEN};

on_every_route!(
    lost_send_response_is_not_retried,
    hanging_send_ends_at_its_deadline,
    odd_token_responses_keep_current_token,
    lost_token_response_is_fetched_again,
);

async fn lost_send_response_is_not_retried(route: Route) {
    for (fault, applied) in [
        (Fault::ResetBeforeApply, false),
        (Fault::ResetAfterApply, true),
        (Fault::Truncate, true),
        (Fault::Status(502), false),
        (Fault::Status(302), false),
        (Fault::Status(307), false),
        (Fault::Html, false),
    ] {
        let harness = Harness::new(route).await;
        let message = harness.message("oUser", 7);
        harness.sandbox.add_fault(SEND, 1, fault);
        let error = harness.client.send(&message).await.unwrap_err();
        assert_eq!((error.delivery(), error.is_retryable()), (Delivery::MaybeSent, false), "{error}");
        assert_eq!(harness.request_count(SEND), 1, "{error}");
        assert_eq!(harness.received_count("oUser"), usize::from(applied), "{error}");
        // The broken connection does not disturb the next message.
        harness.client.send(&harness.message("oOther", 7)).await.unwrap();
    }
}

async fn hanging_send_ends_at_its_deadline(route: Route) {
    let harness = Harness::new(route).await;
    let message = harness.message("oUser", 7);
    harness.sandbox.add_fault(SEND, 1, Fault::Hang);
    let result = match route {
        Route::InProcess => harness.send_while_advancing(&message, Duration::from_secs(31)).await,
        // The limit of the transport ends it, on the clock of tokio.
        Route::Reqwest | Route::Hyper => {
            let limit = async {
                while harness.request_count(SEND) == 0 {
                    yield_now().await;
                }
                pause();
                advance(TransportLimits::default().request_timeout + Duration::from_secs(1)).await;
            };
            tokio::join!(harness.client.send(&message), limit).0
        }
    };
    let error = result.unwrap_err();
    assert_eq!(error.delivery(), Delivery::MaybeSent, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Transport));
    assert_eq!(harness.request_count(SEND), 1);
}

async fn odd_token_responses_keep_current_token(route: Route) {
    let harness = Harness::new(route).await;
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    for fault in
        [Fault::Html, Fault::Status(500), Fault::Truncate, Fault::ResetAfterApply, Fault::ResetBeforeApply]
    {
        harness.sandbox.add_fault(TOKEN, 1, fault);
    }
    // The planned refresh gets one odd response after another, and then a good one.
    for minute in 0..70 {
        harness.advance(Duration::from_secs(60)).await;
        harness.client.send(&harness.message("oUser", minute + 2)).await.unwrap();
    }
    assert_eq!(harness.received_count("oUser"), 71);
    assert_eq!(harness.request_count(TOKEN), 7);
}

async fn lost_token_response_is_fetched_again(route: Route) {
    let harness = Harness::new(route).await;
    harness.sandbox.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    let message = harness.message("oUser", 1);
    harness.send_while_advancing(&message, Duration::from_secs(5)).await.unwrap();
    assert_eq!(harness.request_count(TOKEN), 2);
}
