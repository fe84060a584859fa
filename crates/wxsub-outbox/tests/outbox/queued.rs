//! Messages that wait in the queue for a worker.

use std::future::pending;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use wxsub_core::Client;
use wxsub_core::clock::{Clock, MonotonicInstant};
use wxsub_core::proto::Remedy;
use wxsub_core::quota::next_daily_reset;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{CachedToken, CurrentToken, Evidence, Generation, TokenError, TokenSource};
use wxsub_core::transport::HttpRequest;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{EventKind, MessageState, Reason, Stage, WaitingFor};
use wxsub_outbox::{Gate, Ledger, LedgerError, MaybeSentPolicy, OutboxError, OutboxMessage};

use super::harness::{Fault, Harness, MINUTE, SECOND, SEND, TOKEN, message, ok};

#[tokio::test]
async fn a_message_is_sent_and_its_sender_hears_of_it() {
    let harness = Harness::new();
    let mut outcomes = harness.outbox.outcomes();
    let id = harness.enqueue("o").await;
    let worker = harness.run();
    assert_eq!(harness.outbox.wait(id).await.unwrap().state, MessageState::Sent);
    assert_eq!(outcomes.next().await.unwrap().id, id);
    assert_eq!(harness.weixin.count(SEND), 1);
    worker.abort();
}

/// A ledger that hangs must not fill the memory of the process.
#[tokio::test]
async fn changes_are_refused_while_too_many_wait_for_the_ledger() {
    let harness = Harness::new();
    let enqueue = |_| harness.outbox.enqueue(OutboxMessage::new(message("o"))).now_or_never();
    let mut results = (0..20_000).map(enqueue);
    assert_eq!(results.by_ref().take_while(Option::is_none).count(), 10_000);
    let refused = results.next().unwrap().unwrap();
    let Err(OutboxError::Ledger(LedgerError::Unavailable(what))) = &refused else { panic!("{refused:?}") };
    assert!(what.contains("10000 changes"), "{what}");
    // The ledger catches up.
    while matches!(enqueue(0), Some(Err(_))) {
        tokio::task::yield_now().await;
    }
    harness.enqueue("o").await;
}

#[tokio::test]
async fn a_message_that_expires_before_its_time_is_refused() {
    let harness = Harness::new();
    let at = harness.clock.now().wall + MINUTE;
    for (expires_at, is_refused) in [(at, true), (at + SECOND, false)] {
        let new = OutboxMessage::new(message("o")).send_at(at).expires_at(expires_at);
        let result = harness.outbox.enqueue(new).await;
        assert_eq!(result.is_err(), is_refused, "{result:?}");
        if let Err(error) = result {
            assert!(error.to_string().contains("expires_at: must be later than send_at"), "{error}");
        }
    }
}

/// Each claim waits for a commit, so a claim for each free slot would send one message a commit.
#[tokio::test]
async fn slots_that_become_free_together_are_filled_by_one_claim() {
    let harness = Harness::new();
    harness.run_with_token().await;
    let claims = harness.count(|change| matches!(change, Change::Claim { .. }));
    let users: Vec<_> = (0..80).map(|number| format!("o{number}")).collect();
    let ids = join_all(users.iter().map(|user| harness.enqueue(user))).await;
    for id in ids {
        harness.outbox.wait(id).await.unwrap();
    }
    let claims = claims.load(Ordering::Relaxed);
    assert!(claims <= 20, "{claims} claims for 80 messages in 8 slots");
}

/// How many claims have a commit of their own until the second of two messages is posted, in one slot.
async fn claims_of_their_own(gate: Option<Arc<dyn Gate>>) -> usize {
    let harness = Harness::with(|app| {
        let app = app.concurrency(NonZeroUsize::MIN);
        gate.map_or(app.clone(), |gate| app.gate(gate))
    });
    harness.run_with_token().await;
    let claims = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&claims);
    harness.plan(move |change| {
        counted.fetch_add(usize::from(matches!(change, Change::Claim { .. })), Ordering::Relaxed);
        // Nothing that comes after the settlement in its commit is counted.
        matches!(change, Change::Settle { .. }).then_some(Fault::Slow(SECOND))
    });
    join_all([harness.enqueue("a"), harness.enqueue("b")]).await;
    while harness.weixin.count(SEND) < 3 {
        harness.clock.advance_and_run(SECOND).await;
    }
    claims.load(Ordering::Relaxed)
}

#[tokio::test]
async fn the_next_message_is_claimed_in_the_commit_of_the_settlement() {
    assert_eq!(claims_of_their_own(None).await, 1);
}

/// The outcome may close it.
#[tokio::test]
async fn a_gate_hears_of_an_attempt_before_the_next_claim() {
    assert_eq!(claims_of_their_own(Some(Arc::new(OpenGate))).await, 2);
}

#[derive(Debug)]
struct OpenGate;

impl Gate for OpenGate {
    fn take(&self, most: usize, _: MonotonicInstant) -> usize {
        most
    }

    fn give_back(&self, _: usize) {}

    fn end_attempt(&self, _: Option<&StoredMessage>, _: MonotonicInstant) {}

    fn next_at(&self) -> Option<MonotonicInstant> {
        None
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_message() {
    let harness = Harness::new();
    let key = || IdempotencyKey::new("order-4711").unwrap();
    let keyed = |user| harness.outbox.enqueue(OutboxMessage::new(message(user)).idempotency_key(key()));
    let first = keyed("o").await.unwrap();
    let second = keyed("o").await.unwrap();
    assert!(!first.replayed() && second.replayed() && first.id() == second.id());
    assert!(matches!(keyed("p").await, Err(OutboxError::NotRecorded(_))));
}

#[tokio::test]
async fn nothing_is_posted_while_the_heartbeat_fails() {
    let harness = Harness::new();
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    harness.plan(|change| matches!(change, Change::Heartbeat(_)).then_some(Fault::Unavailable));
    harness.clock.advance_and_run(10 * SECOND).await;
    let id = harness.enqueue("o").await;
    harness.clock.advance_and_run(MINUTE / 2).await;
    assert_eq!((harness.weixin.count(SEND), harness.get(id).await.attempt), (0, 0));
    harness.plan(|_| None);
    harness.clock.advance_and_run(10 * SECOND).await;
    assert_eq!((harness.weixin.count(SEND), harness.get(id).await.state), (1, MessageState::Sent));
}

#[tokio::test]
async fn the_heart_beats_while_the_reads_of_the_ledger_hang() {
    let harness = Harness::with(|app| app.maybe_sent(MaybeSentPolicy::GiveUp));
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    harness.ledger.reads_hang.store(true, Ordering::Relaxed);
    let beats = harness.count(|change| matches!(change, Change::Heartbeat(_)));
    harness.clock.advance_and_run(MINUTE).await;
    // A beat waits 2 s for a read, and the next one comes 5 s later.
    assert!((8..=9).contains(&beats.load(Ordering::Relaxed)), "{beats:?}");
}

#[tokio::test]
async fn nothing_is_posted_long_after_its_claim() {
    let harness = Harness::new();
    harness.fail_first_claim(Fault::Slow(31 * SECOND));
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(32 * SECOND).await;
    assert_eq!((harness.weixin.count(SEND), harness.get(id).await.failures), (0, 1));
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!((harness.weixin.count(SEND), harness.get(id).await.state), (1, MessageState::Sent));
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_given_back() {
    let harness = Harness::new();
    harness.fail_first_claim(Fault::LostReply);
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    assert_eq!(harness.get(id).await.state, MessageState::Attempting);
    harness.clock.advance_and_run(MINUTE / 2).await;
    use EventKind::{Claimed, Enqueued, Requeued, Sent};
    assert_eq!(harness.kinds(id).await, [Enqueued, Claimed, Requeued, Claimed, Sent]);
    assert_eq!(harness.weixin.count(SEND), 1);
}

/// The limit is that of the app, also for an attempt of which the process does not know.
#[tokio::test]
async fn a_lost_reply_to_a_claim_ends_no_message_below_the_limit_of_its_app() {
    let harness = Harness::with(|app| app.max_failures(40));
    harness.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    while harness.get(id).await.failures < 25 {
        harness.clock.advance_and_run(15 * MINUTE).await;
    }
    let attempt = harness.get(id).await.attempt;
    harness.fail_first_claim(Fault::LostReply);
    harness.clock.advance_and_run(20 * MINUTE).await;
    let message = harness.get(id).await;
    assert!(message.attempt > attempt, "{message:?}");
    assert_eq!((message.state, message.reason), (MessageState::Queued, None));
}

#[tokio::test]
async fn an_outcome_is_settled_when_the_ledger_is_back() {
    let harness = Harness::new();
    harness.plan(|change| matches!(change, Change::Settle { .. }).then_some(Fault::Unavailable));
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(2 * MINUTE).await;
    assert_eq!(harness.get(id).await.state, MessageState::Attempting, "its worker is alive");
    harness.plan(|_| None);
    harness.clock.advance_and_run(2 * SECOND).await;
    assert_eq!((harness.get(id).await.state, harness.weixin.count(SEND)), (MessageState::Sent, 1));
}

#[tokio::test]
async fn a_worker_that_was_taken_for_gone_goes_on_under_another_id() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let first = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    let before = harness.get(first).await.worker.unwrap();
    harness.ledger.commit(vec![Change::MarkGone(Gone::One(before))]).await.unwrap();
    harness.clock.advance_and_run(12 * SECOND).await;
    assert_eq!(harness.get(first).await.reason, Some(Reason::WorkerLost));
    let second = harness.enqueue("p").await;
    harness.clock.advance_and_run(SECOND).await;
    let message = harness.get(second).await;
    assert_eq!(message.state, MessageState::Sent);
    assert_ne!(message.worker, Some(before));
}

#[tokio::test]
async fn a_message_whose_task_panics_may_have_been_sent() {
    let transport = |request: HttpRequest| async move {
        assert!(request.path() != SEND, "the transport panics");
        let body = r#"{"access_token":"T","expires_in":7200}"#;
        Ok(wxsub_core::proto::codec::RawResponse::new(200, body.into()))
    };
    let clock = Arc::new(ManualClock::new());
    let client = Client::builder("wx1", "SECRET", transport);
    let client = client.clock(clock.clone()).build().unwrap();
    let harness = Harness::with_client(client, clock, Arc::new(MockTransport::new()));
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    let message = harness.outbox.wait(id).await.unwrap();
    assert_eq!((message.state, message.reason), (MessageState::MaybeSent, Some(Reason::ResponseLost)));
}

#[tokio::test]
async fn a_worker_that_ends_waits_for_its_attempts() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, MockResponse::Hang);
    let (first, second) = (harness.enqueue("o").await, {
        let (stop, stopped) = oneshot::channel::<()>();
        let outbox = harness.outbox.clone();
        let worker = tokio::spawn(async move { outbox.run(async move { drop(stopped.await) }).await });
        harness.clock.advance_and_run(SECOND).await;
        stop.send(()).unwrap();
        let second = harness.enqueue("p").await;
        harness.clock.advance_and_run(MINUTE).await;
        worker.await.unwrap().unwrap();
        second
    });
    // The client gives up after 30 s.
    assert_eq!(harness.get(first).await.reason, Some(Reason::ResponseLost));
    assert_eq!(harness.get(second).await.state, MessageState::Queued, "nothing new is claimed");
}

#[tokio::test]
async fn want_of_a_token_counts_no_failure() {
    let harness = Harness::new();
    let refused =
        MockResponse::json(r#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#);
    harness.weixin.respond_always(TOKEN, refused);
    let ids = [harness.enqueue("o").await, harness.enqueue("p").await];
    let _worker = harness.run();
    harness.clock.advance_and_run(60 * MINUTE).await;
    for id in ids {
        let message = harness.get(id).await;
        assert_eq!((message.state, message.failures), (MessageState::Queued, 0));
    }
    assert_eq!(harness.weixin.count(SEND), 0);
    harness.weixin.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    harness.clock.advance_and_run(15 * MINUTE).await;
    assert_eq!(harness.weixin.count(SEND), 2);
}

/// A source that waits for a token without end.
#[derive(Debug)]
struct NoToken(Arc<ManualClock>);

#[async_trait]
impl TokenSource for NoToken {
    fn current(&self) -> CurrentToken {
        CurrentToken::new(None, self.0.now())
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        pending().await
    }

    async fn refresh(&self, _: Generation, _: Evidence) -> Result<Arc<CachedToken>, TokenError> {
        pending().await
    }
}

#[tokio::test]
async fn a_token_that_does_not_come_in_time_counts_no_failure() {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    let client = Client::with_token_source(NoToken(clock.clone()), weixin.clone()).clock(clock.clone());
    let harness = Harness::with_client(client.build(), clock, weixin);
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(MINUTE / 2).await;
    let message = harness.get(id).await;
    let seen = (message.state, message.failures, message.detail.stage, message.detail.remedy);
    assert_eq!(seen, (MessageState::Queued, 0, Some(Stage::Token), Some(Remedy::RetryLater)));
    let app = harness.ledger.app(&"wx1".parse().unwrap()).await.unwrap();
    assert_eq!(app.waiting_for(&message, harness.clock.now().wall), Some(WaitingFor::Token));
}

#[tokio::test]
async fn the_daily_quota_that_is_used_up_at_noon_stops_the_app_until_midnight_in_beijing() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, ok());
    let used_up = MockResponse::json(r#"{"errcode":45009,"errmsg":"reach max api daily quota limit"}"#);
    harness.weixin.respond_always(SEND, used_up);
    let now = || harness.clock.now().wall;
    let noon = next_daily_reset(now()) + 720 * MINUTE;
    harness.clock.advance(noon.since(now()));
    harness.run_with_token().await;
    let ids = join_all(["a", "b", "c"].map(|user| harness.enqueue(user))).await;
    // A probe waits for the next poll, so each hour is up to 5 s longer.
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!(harness.weixin.count(SEND), 4, "the three were claimed together");
    for hour in 1..12 {
        harness.clock.advance_and_run(60 * MINUTE).await;
        assert_eq!(harness.weixin.count(SEND), 4 + hour, "one probe an hour");
        let app = harness.ledger.app(&"wx1".parse().unwrap()).await.unwrap();
        assert_eq!(app.pauses.daily_quota.unwrap().until, noon + 720 * MINUTE);
        for id in &ids {
            let message = harness.get(*id).await;
            assert_eq!((message.state, message.failures), (MessageState::Queued, 0));
            assert_eq!(app.waiting_for(&message, now()), Some(WaitingFor::Quota));
        }
    }
    harness.weixin.respond_always(SEND, ok());
    harness.clock.advance_and_run(60 * MINUTE).await;
    assert_eq!(harness.weixin.count(SEND), 4 + 11 + 3);
    for id in ids {
        assert_eq!(harness.get(id).await.state, MessageState::Sent);
    }
}

#[tokio::test]
async fn a_rate_spreads_the_messages() {
    let harness = Harness::with(|app| app.rate_per_s(NonZeroU32::new(5).unwrap()));
    for number in 0..20 {
        harness.enqueue(&format!("user{number}")).await;
    }
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    let after_a_second = harness.weixin.count(SEND);
    assert!((5..=6).contains(&after_a_second), "{after_a_second}");
    harness.clock.advance_and_run(SECOND).await;
    assert_eq!(harness.weixin.count(SEND), after_a_second + 5);
    harness.clock.advance_and_run(3 * SECOND).await;
    assert_eq!(harness.weixin.count(SEND), 20);
}

#[tokio::test]
async fn a_worker_looks_for_times_of_a_clock_that_was_ahead() {
    let harness = Harness::new();
    let ahead = 24 * 60 * MINUTE;
    let reschedules = harness.count(|change| matches!(change, Change::Reschedule(_)));
    harness.clock.set_forward(ahead);
    let before = harness.enqueue("before").await;
    harness.clock.set_back(ahead);
    harness.run();
    harness.clock.advance_and_run(10 * SECOND).await;
    assert_eq!(harness.get(before).await.state, MessageState::Sent);
    // While it works.
    harness.outbox.pause("ops", "night").await.unwrap();
    harness.clock.set_forward(ahead);
    harness.clock.advance_and_run(10 * SECOND).await;
    let meanwhile = harness.enqueue("meanwhile").await;
    assert_eq!(reschedules.load(Ordering::Relaxed), 1);
    harness.clock.set_back(ahead);
    harness.outbox.resume().await.unwrap();
    harness.clock.advance_and_run(15 * SECOND).await;
    assert_eq!(harness.get(meanwhile).await.state, MessageState::Sent);
    assert_eq!(reschedules.load(Ordering::Relaxed), 2);
}
