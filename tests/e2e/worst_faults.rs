//! The eleven worst things that happen to a token or a message, and the story of each:
//!
//! | what happens | story |
//! |---|---|
//! | the reply to a send is lost | `lost_answers::a_lost_answer_is_posted_once` |
//! | a send is never answered | `lost_answers::a_send_that_hangs_ends_with_its_deadline` |
//! | a stranger kills the token | `strangers::a_killed_token_heals_without_a_failed_send` |
//! | the token endpoint hangs | `refresh_ahead::an_endpoint_that_hangs_now_and_then` |
//! | a captive portal answers the token call | `lost_answers::odd_token_replies_cost_no_good_token` |
//! | the reply to a refresh is lost, and Weixin goes away | [`a_lost_refresh_kills_the_token_in_an_outage`] |
//! | Weixin is busy for ever | [`busy_for_ever_is_an_error_and_no_storm`] |
//! | the new token is rejected too | [`a_second_rejection_ends_it`] |
//! | `stable_token` hands out the rejected token | [`a_rejected_stable_token_is_forced_out_once`] |
//! | the address is taken off the list in mid-life | [`an_address_no_longer_allowed`] |
//! | the machine sleeps for two hours | [`a_suspended_machine_fetches_before_it_sends`] |
//!
//! And the worst of several processes: [`a_killed_refresher_is_replaced`].

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::error::{Call, Delivery, SendError};
use wxsub_core::proto::{ErrCode, Message, Remedy};
use wxsub_core::store::MemoryStore;
use wxsub_core::token::TokenSource;
use wxsub_sandbox::Fault;
use wxsub_tests::{Route, SEND, STABLE, Stage, TOKEN};

stories!(
    a_lost_refresh_kills_the_token_in_an_outage,
    busy_for_ever_is_an_error_and_no_storm,
    a_second_rejection_ends_it,
    a_rejected_stable_token_is_forced_out_once,
    an_address_no_longer_allowed,
    a_suspended_machine_fetches_before_it_sends,
    a_killed_refresher_is_replaced,
);

const MINUTE: Duration = Duration::from_secs(60);
const FOR_EVER: u64 = 1_000_000;

/// Sends a message while time passes.
async fn meanwhile(stage: &Stage, message: &Message, time: Duration) -> Result<(), SendError> {
    let (client, message) = (stage.client.clone(), message.clone());
    let sending = tokio::spawn(async move { client.send(&message).await });
    stage.pass(time).await;
    sending.await.unwrap()
}

async fn a_lost_refresh_kills_the_token_in_an_outage(route: Route) {
    let stage = Stage::new(route).await;
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    stage.sandbox.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    stage.sandbox.add_fault(TOKEN, FOR_EVER, Fault::Status(502));
    // The planned refresh comes after about an hour; four minutes later the token held may be dead.
    stage.pass(72 * MINUTE).await;
    let status = stage.keeper.status();
    assert!(status.is_suspect(stage.keeper.now()));
    assert!(status.vouched(stage.keeper.now()) <= MINUTE && stage.keeper.current().issued().is_some());
    // It is, and Weixin's word for it is believed at once: the message is not sent, and nobody says otherwise.
    let message = stage.message("oUser", 2);
    let error = meanwhile(&stage, &message, MINUTE).await.unwrap_err();
    assert_eq!((error.call(), error.delivery()), (Call::Token, Delivery::NotSent), "{error}");
    assert!(error.may_repeat() && stage.keeper.current().issued().is_none());
    // It heals by itself once Weixin is back.
    stage.sandbox.clear_faults();
    stage.pass(Duration::from_secs(16)).await;
    stage.client.send(&message).await.unwrap();
    assert_eq!(stage.received("oUser"), 2);
}

async fn busy_for_ever_is_an_error_and_no_storm(route: Route) {
    let stage = Stage::new(route).await;
    stage.sandbox.add_fault(TOKEN, FOR_EVER, Fault::ErrCode(ErrCode::SYSTEM_BUSY));
    let message = stage.message("oUser", 1);
    let error = meanwhile(&stage, &message, 10 * MINUTE).await.unwrap_err();
    assert_eq!((error.delivery(), error.remedy()), (Delivery::NotSent, Remedy::RetryLater), "{error}");
    let asked = stage.seen(TOKEN);
    assert!((30..=70).contains(&asked), "{asked} requests in ten minutes");
    stage.sandbox.clear_faults();
    stage.pass(Duration::from_secs(16)).await;
    stage.client.send(&message).await.unwrap();
}

async fn a_second_rejection_ends_it(route: Route) {
    let stage = Stage::new(route).await;
    let message = stage.message("oUser", 1);
    stage.sandbox.add_fault(SEND, 2, Fault::ErrCode(ErrCode::INVALID_CREDENTIAL));
    let error = stage.client.send(&message).await.unwrap_err();
    assert_eq!((error.delivery(), error.errcode()), (Delivery::Answered, Some(ErrCode::INVALID_CREDENTIAL)));
    // Nobody else meets the second token either.
    assert_eq!((stage.seen(SEND), stage.seen(TOKEN)), (2, 3));
    stage.client.send(&message).await.unwrap();
    assert_eq!((stage.received("oUser"), stage.seen(TOKEN)), (1, 3));
}

async fn a_rejected_stable_token_is_forced_out_once(route: Route) {
    let stage = Stage::stable(route).await;
    let rejected = Fault::ErrCode(ErrCode::INVALID_CREDENTIAL);
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    stage.sandbox.add_fault(SEND, 1, rejected);
    stage.client.send(&stage.message("oUser", 2)).await.unwrap();
    // Asked at the start, asked again, and forced when the same token came.
    assert_eq!((stage.seen(STABLE), stage.received("oUser")), (3, 2));
    // A second time so soon is not forced.
    stage.sandbox.add_fault(SEND, 1, rejected);
    let error = meanwhile(&stage, &stage.message("oUser", 3), MINUTE).await.unwrap_err();
    assert_ne!(error.delivery(), Delivery::MaybeSent, "{error}");
    let newest = stage.sandbox.journal().events.iter().filter_map(|event| event.token).max();
    assert_eq!((newest, stage.received("oUser")), (Some(2), 2), "a third token was issued");
}

async fn an_address_no_longer_allowed(route: Route) {
    let stage = Stage::new(route).await;
    stage.client.send(&stage.message("oUser", 0)).await.unwrap();
    stage.sandbox.add_fault(TOKEN, FOR_EVER, Fault::ErrCode(ErrCode::new(40164)));
    // The token held is good until its end, and so are the messages.
    for scene in 1..12 {
        stage.pass(10 * MINUTE).await;
        stage.client.send(&stage.message("oUser", scene)).await.unwrap();
    }
    let asked = stage.seen(TOKEN);
    assert!((5..=30).contains(&asked), "{asked} requests in the second hour");
    stage.pass(10 * MINUTE).await;
    let message = stage.message("oUser", 12);
    let error = meanwhile(&stage, &message, MINUTE).await.unwrap_err();
    assert_eq!((error.delivery(), error.remedy()), (Delivery::NotSent, Remedy::AllowIp), "{error}");
    stage.sandbox.clear_faults();
    stage.pass(6 * MINUTE).await;
    stage.client.send(&message).await.unwrap();
    assert_eq!(stage.received("oUser"), 13);
}

async fn a_suspended_machine_fetches_before_it_sends(route: Route) {
    let stage = Stage::new(route).await;
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    // The wall clock goes on while the machine sleeps, the other does not.
    stage.clock.set_forward(120 * MINUTE);
    stage.client.send(&stage.message("oUser", 2)).await.unwrap();
    assert_eq!((stage.seen(TOKEN), stage.seen(SEND), stage.received("oUser")), (2, 2, 2));
}

async fn a_killed_refresher_is_replaced(route: Route) {
    let stage = Stage::new(route).await;
    let store = Arc::new(MemoryStore::on(stage.clock.clone()));
    let (first, second) = (stage.another_keeper(store.clone()), stage.another_keeper(store));
    let token = first.token().await.unwrap();
    assert_eq!(second.token().await.unwrap().generation(), token.generation());
    // Whoever refreshes first dies in the middle of it: nothing comes back, and its lease stays.
    stage.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    while stage.seen(TOKEN) == 1 {
        stage.clock.pass(Duration::from_secs(10)).await;
    }
    let (dies, lives) = if first.status().fetching { (first, second) } else { (second, first) };
    drop(dies);
    for _ in 0..60 {
        assert!(lives.current().issued().is_some());
        stage.clock.pass(Duration::from_secs(1)).await;
        while lives.status().fetching && stage.seen(TOKEN) > 2 {
            tokio::task::yield_now().await;
        }
    }
    assert!(lives.current().issued().unwrap().generation() > token.generation());
    assert_eq!(stage.seen(TOKEN), 3);
}
