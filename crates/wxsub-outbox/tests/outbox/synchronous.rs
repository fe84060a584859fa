//! Synchronous sends.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wxsub_core::testing::MockResponse;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::ledger::{Change, MessageQuery, NotRecorded};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{EventKind, MessageState, Mode, Reason};
use wxsub_outbox::{Ledger, LedgerError, OutboxError, Receipt};

use super::harness::{Fault, Harness, MINUTE, SECOND, SEND, message, ok};

fn key() -> Option<IdempotencyKey> {
    Some("order-4711".parse().unwrap())
}

impl Harness {
    /// With a worker whose heart beats.
    async fn running() -> Self {
        let harness = Self::new();
        harness.run();
        harness.clock.advance_and_run(SECOND).await;
        harness
    }

    fn send(&self, key: Option<IdempotencyKey>) -> JoinHandle<Result<Receipt, OutboxError>> {
        let outbox = self.outbox.clone();
        tokio::spawn(async move { outbox.send(message("o"), key).await })
    }

    async fn only(&self) -> StoredMessage {
        let mut all = self.ledger.messages(&MessageQuery::new("wx1".parse().unwrap())).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

#[tokio::test]
async fn a_send_ends_in_a_final_state() {
    let refused = |code| MockResponse::json(&format!(r#"{{"errcode":{code},"errmsg":"no"}}"#));
    for (response, state, reason) in [
        (ok(), MessageState::Sent, None),
        (refused(43101), MessageState::Refused, None),
        (refused(45011), MessageState::Refused, None),
        (MockResponse::lose_response(), MessageState::MaybeSent, Some(Reason::ResponseLost)),
        (MockResponse::refuse_connection(), MessageState::NotSent, Some(Reason::Synchronous)),
    ] {
        let harness = Harness::running().await;
        harness.weixin.respond_always(SEND, response);
        let sending = harness.send(None);
        harness.clock.advance_and_run(5 * SECOND).await;
        let receipt = sending.await.unwrap().unwrap();
        let message = receipt.message();
        assert_eq!((message.state, message.reason, message.mode), (state, reason, Mode::Synchronous));
        assert!(!receipt.replayed());
        assert_eq!(harness.kinds(receipt.id()).await[0], EventKind::Begun);
        assert_eq!(harness.get(receipt.id()).await, *message);
    }
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_recorded() {
    let harness = Harness::running().await;
    harness.plan(|change| matches!(change, Change::Begin(..)).then_some(Fault::Unavailable));
    let error = harness.send(None).await.unwrap().unwrap_err();
    assert!(matches!(error, OutboxError::Ledger(LedgerError::Unavailable(_))), "{error}");
    harness.plan(|change| matches!(change, Change::Begin(..)).then_some(Fault::LostReply));
    let error = harness.send(None).await.unwrap().unwrap_err();
    assert!(matches!(error, OutboxError::Ledger(LedgerError::Unknown(_))), "{error}");
    assert_eq!(harness.only().await.state, MessageState::Attempting);
    harness.clock.advance_and_run(20 * SECOND).await;
    let message = harness.only().await;
    assert_eq!((message.state, message.reason), (MessageState::NotSent, Some(Reason::Synchronous)));
    assert_eq!(harness.weixin.count(SEND), 0);
}

#[tokio::test]
async fn nothing_is_sent_while_no_worker_runs() {
    let harness = Harness::new();
    assert_eq!(harness.send(None).await.unwrap(), Err(OutboxError::NotRunning));
    let worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    harness.plan(|change| matches!(change, Change::Heartbeat(_)).then_some(Fault::Unavailable));
    harness.clock.advance_and_run(10 * SECOND).await;
    assert_eq!(harness.send(None).await.unwrap(), Err(OutboxError::NotRunning));
    worker.abort();
    let _ = worker.await;
    assert_eq!(harness.send(None).await.unwrap(), Err(OutboxError::NotRunning));
    let all = harness.ledger.messages(&MessageQuery::new("wx1".parse().unwrap())).await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test]
async fn a_send_waits_5_s_for_a_worker_that_cannot_register() {
    let harness = Harness::new();
    harness.plan(|change| matches!(change, Change::Register(_)).then_some(Fault::Slow(MINUTE)));
    harness.run();
    harness.clock.advance_and_run(SECOND).await;
    let sending = harness.send(None);
    harness.clock.advance_and_run(5 * SECOND).await;
    assert!(sending.is_finished());
    assert_eq!(sending.await.unwrap(), Err(OutboxError::NotRunning));
}

#[tokio::test]
async fn the_same_key_sends_once() {
    let harness = Harness::running().await;
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let first = harness.send(key());
    harness.clock.advance_and_run(SECOND).await;
    let second = harness.send(key()).await.unwrap().unwrap();
    assert_eq!((second.replayed(), second.message().state), (true, MessageState::Attempting));
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!(first.await.unwrap().unwrap().message().state, MessageState::MaybeSent);
    let third = harness.send(key()).await.unwrap().unwrap();
    assert_eq!((third.replayed(), third.message().state), (true, MessageState::MaybeSent));
    assert_eq!(harness.weixin.count(SEND), 1);
    // Another client's key is another key.
    harness.weixin.respond_once(SEND, ok());
    let other = harness.outbox.for_client("shop").send(message("o"), key()).await.unwrap();
    assert_eq!((other.replayed(), other.message().state), (false, MessageState::Sent));
}

#[tokio::test]
async fn a_message_that_was_not_sent_is_sent_again() {
    let harness = Harness::running().await;
    harness.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let first = harness.send(key());
    harness.clock.advance_and_run(5 * SECOND).await;
    let first = first.await.unwrap().unwrap();
    harness.weixin.respond_always(SEND, ok());
    let second = harness.send(key()).await.unwrap().unwrap();
    assert_eq!((second.replayed(), second.message().state), (false, MessageState::Sent));
    assert_eq!(second.message().parent_id, Some(first.id()));
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_nothing() {
    let harness = Harness::running().await;
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let sending = harness.send(None);
    harness.clock.advance_and_run(SECOND).await;
    sending.abort();
    let _ = sending.await;
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!(harness.only().await.state, MessageState::MaybeSent);
}

#[tokio::test]
async fn an_outcome_that_the_ledger_has_not_taken_may_be_sent() {
    let harness = Harness::running().await;
    harness.plan(|change| matches!(change, Change::Settle { .. }).then_some(Fault::Unavailable));
    let sending = harness.send(None);
    harness.clock.advance_and_run(6 * SECOND).await;
    let error = sending.await.unwrap().unwrap_err();
    let id = harness.only().await.id;
    assert_eq!(error, OutboxError::NotSettled(id));
    harness.plan(|_| None);
    harness.clock.advance_and_run(2 * SECOND).await;
    assert_eq!(harness.get(id).await.state, MessageState::Sent);
}

#[tokio::test]
async fn a_pause_stops_synchronous_sends() {
    let harness = Harness::running().await;
    harness.outbox.pause("ops", "night").await.unwrap();
    let error = harness.send(None).await.unwrap().unwrap_err();
    assert_eq!(error, OutboxError::NotRecorded(NotRecorded::Paused));
}

#[tokio::test]
async fn a_rate_refuses_what_is_above_it() {
    let harness = Harness::with(|app| app.rate_per_s(NonZeroU32::new(2).unwrap()));
    harness.run();
    harness.clock.advance_and_run(SECOND).await;
    assert!(harness.send(None).await.unwrap().is_ok());
    let error = harness.send(None).await.unwrap().unwrap_err();
    assert_eq!(error, OutboxError::RateLimited(Duration::from_millis(500)));
    harness.clock.advance_and_run(Duration::from_millis(500)).await;
    assert!(harness.send(None).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_worker_that_ends_waits_for_synchronous_sends() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let (stop, stopped) = oneshot::channel::<()>();
    let outbox = harness.outbox.clone();
    let worker = tokio::spawn(async move { outbox.run(async move { drop(stopped.await) }).await });
    harness.clock.advance_and_run(SECOND).await;
    let sending = harness.send(None);
    harness.clock.advance_and_run(SECOND).await;
    stop.send(()).unwrap();
    harness.clock.advance_and_run(SECOND).await;
    assert!(!worker.is_finished());
    assert_eq!(harness.send(None).await.unwrap(), Err(OutboxError::NotRunning), "nothing new begins");
    harness.clock.advance_and_run(MINUTE).await;
    worker.await.unwrap().unwrap();
    // The client gives up after 30 s.
    assert_eq!(sending.await.unwrap().unwrap().message().reason, Some(Reason::ResponseLost));
}

#[tokio::test]
async fn a_send_whose_worker_is_dropped_may_have_been_sent() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    let sending = harness.send(None);
    harness.clock.advance_and_run(SECOND).await;
    worker.abort();
    let _ = worker.await;
    let id = harness.only().await.id;
    assert_eq!(sending.await.unwrap(), Err(OutboxError::NotSettled(id)));
    harness.run();
    harness.clock.advance_and_run(2 * MINUTE).await;
    let message = harness.get(id).await;
    assert_eq!((message.state, message.reason), (MessageState::MaybeSent, Some(Reason::WorkerLost)));
}
