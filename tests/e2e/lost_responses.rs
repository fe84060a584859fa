//! A message whose answer is lost is posted once, and nobody claims to know more than they do.

use std::time::Duration;

use wxsub_core::error::{Delivery, ErrorKind};
use wxsub_core::transport::Limits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Route, SEND, Stage, TOKEN};

stories!(
    a_lost_answer_is_posted_once,
    a_send_that_hangs_ends_with_its_deadline,
    odd_token_replies_cost_no_good_token,
    a_lost_token_reply_is_asked_for_again,
);

async fn a_lost_answer_is_posted_once(route: Route) {
    for (fault, applied) in [
        (Fault::ResetBeforeApply, false),
        (Fault::ResetAfterApply, true),
        (Fault::Truncate, true),
        (Fault::Status(502), false),
        (Fault::Status(302), false),
        (Fault::Status(307), false),
        (Fault::Html, false),
    ] {
        let stage = Stage::new(route).await;
        let message = stage.message("oUser", 7);
        stage.sandbox.add_fault(SEND, 1, fault);
        let error = stage.client.send(&message).await.unwrap_err();
        assert_eq!((error.delivery(), error.may_repeat()), (Delivery::MaybeSent, false), "{error}");
        assert_eq!(stage.seen(SEND), 1, "{error}");
        assert_eq!(stage.received("oUser"), usize::from(applied), "{error}");
        // The connection that broke does not stand in the way of the next message.
        stage.client.send(&stage.message("oOther", 7)).await.unwrap();
    }
}

async fn a_send_that_hangs_ends_with_its_deadline(route: Route) {
    let limits = Limits::default().total(Duration::from_millis(500));
    let stage = Stage::with(route, AppSettings::default(), limits).await;
    let message = stage.message("oUser", 7);
    stage.sandbox.add_fault(SEND, 1, Fault::Hang);
    let sending = tokio::spawn({
        let client = stage.client.clone();
        async move { client.send(&message).await.unwrap_err() }
    });
    if route == Route::InProcess {
        stage.pass(Duration::from_secs(31)).await;
    }
    let error = sending.await.unwrap();
    assert_eq!(error.delivery(), Delivery::MaybeSent, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Transport));
    assert_eq!(stage.seen(SEND), 1);
}

async fn odd_token_replies_cost_no_good_token(route: Route) {
    let stage = Stage::new(route).await;
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    for fault in
        [Fault::Html, Fault::Status(500), Fault::Truncate, Fault::ResetAfterApply, Fault::ResetBeforeApply]
    {
        stage.sandbox.add_fault(TOKEN, 1, fault);
    }
    // The planned refresh meets one odd reply after another, and then a good one.
    for minute in 0..70 {
        stage.pass(Duration::from_secs(60)).await;
        stage.client.send(&stage.message("oUser", minute + 2)).await.unwrap();
    }
    assert_eq!(stage.received("oUser"), 71);
    assert_eq!(stage.seen(TOKEN), 7);
}

async fn a_lost_token_reply_is_asked_for_again(route: Route) {
    let stage = Stage::new(route).await;
    stage.sandbox.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    let message = stage.message("oUser", 1);
    let sending = tokio::spawn({
        let client = stage.client.clone();
        async move { client.send(&message).await }
    });
    stage.pass(Duration::from_secs(5)).await;
    sending.await.unwrap().unwrap();
    assert_eq!(stage.seen(TOKEN), 2);
}
