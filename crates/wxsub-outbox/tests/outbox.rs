//! The outbox and its worker, over a transport that follows a script and a ledger that fails on demand.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::proto::{AppId, Grant, Message, OpenId};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::transport::HttpRequest;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::ledger::{Applied, Change, Gone, MessageQuery};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::{EventKind, MessageState, Reason};
use wxsub_outbox::{App, Ledger, LedgerError, MemoryLedger, Outbox, OutboxError, OutboxMessage};

const TOKEN: &str = "/cgi-bin/token";
const SEND: &str = "/cgi-bin/message/template/subscribe";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unavailable,
    LostReply,
    Slow(Duration),
}

type Plan = Box<dyn FnMut(&Change) -> Option<Fault> + Send>;

/// A ledger in memory whose commits fail on demand.
struct FaultyLedger {
    ledger: MemoryLedger,
    clock: Arc<ManualClock>,
    plan: Mutex<Plan>,
}

impl std::fmt::Debug for FaultyLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyLedger")
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let fault = changes.iter().find_map(|change| (self.plan.lock().unwrap())(change));
        match fault {
            None => self.ledger.commit(changes).await,
            Some(Fault::Unavailable) => Err(LedgerError::Unavailable("away".to_owned())),
            Some(Fault::LostReply) => {
                self.ledger.commit(changes).await?;
                Err(LedgerError::Unknown("reset".to_owned()))
            }
            Some(Fault::Slow(time)) => {
                self.clock.sleep_until(self.clock.now().mono + time).await;
                self.ledger.commit(changes).await
            }
        }
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.ledger.message(id).await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.ledger.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        self.ledger.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        self.ledger.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        self.ledger.app(appid).await
    }
}

struct Harness {
    outbox: Outbox,
    ledger: Arc<FaultyLedger>,
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
}

impl Harness {
    fn new() -> Self {
        let weixin = Arc::new(MockTransport::new());
        weixin.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
        let clock = Arc::new(ManualClock::new());
        let client = Client::builder("wx1", "SECRET", weixin.clone());
        Self::with_client(client.clock(clock.clone()).build().unwrap(), clock, weixin)
    }

    fn with_client(client: Client, clock: Arc<ManualClock>, weixin: Arc<MockTransport>) -> Self {
        let memory = MemoryLedger::with_clock(clock.clone());
        let plan = Mutex::new(Box::new(|_: &Change| None) as Plan);
        let ledger = Arc::new(FaultyLedger { ledger: memory, clock: Arc::clone(&clock), plan });
        let outbox = Outbox::with_ledger(ledger.clone())
            .app(App::new("wx1".parse().unwrap(), client))
            .clock(clock.clone())
            .id_seed(1)
            .poll_interval(5 * SECOND)
            .build();
        Self { outbox, ledger, clock, weixin }
    }

    fn run(&self) -> JoinHandle<Result<(), OutboxError>> {
        let outbox = self.outbox.clone();
        tokio::spawn(async move { outbox.run(pending()).await })
    }

    fn plan(&self, plan: impl FnMut(&Change) -> Option<Fault> + Send + 'static) {
        *self.ledger.plan.lock().unwrap() = Box::new(plan);
    }

    async fn enqueue(&self, user: &str) -> MessageId {
        self.outbox.enqueue(OutboxMessage::new(message(user))).await.unwrap().id()
    }

    async fn get(&self, id: MessageId) -> StoredMessage {
        self.ledger.message(id).await.unwrap().unwrap()
    }

    async fn kinds(&self, id: MessageId) -> Vec<EventKind> {
        self.ledger.history(id).await.unwrap().iter().map(|event| event.kind).collect()
    }
}

fn message(user: &str) -> Message {
    let grant = Grant::assume_verified(user, "T", 7).unwrap();
    Message::builder(grant).title("Title").content("Text").build().unwrap()
}

fn ok() -> MockResponse {
    MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#)
}

#[tokio::test]
async fn a_message_is_sent_and_its_sender_hears_of_it() {
    let harness = Harness::new();
    harness.weixin.respond_once(SEND, ok());
    let mut outcomes = harness.outbox.outcomes();
    let id = harness.enqueue("o").await;
    let worker = harness.run();
    assert_eq!(harness.outbox.wait(id).await.unwrap().state, MessageState::Sent);
    assert_eq!(outcomes.next().await.unwrap().id, id);
    assert_eq!(harness.weixin.count(SEND), 1);
    worker.abort();
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
    harness.weixin.respond_always(SEND, ok());
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
async fn nothing_is_posted_long_after_its_claim() {
    let harness = Harness::new();
    harness.weixin.respond_always(SEND, ok());
    let mut slow = true;
    harness.plan(move |change| {
        let claim = matches!(change, Change::Claim { .. }) && std::mem::take(&mut slow);
        claim.then_some(Fault::Slow(31 * SECOND))
    });
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
    harness.weixin.respond_always(SEND, ok());
    let mut lost = true;
    harness.plan(move |change| {
        let claim = matches!(change, Change::Claim { .. }) && std::mem::take(&mut lost);
        claim.then_some(Fault::LostReply)
    });
    let id = harness.enqueue("o").await;
    let _worker = harness.run();
    harness.clock.advance_and_run(SECOND).await;
    assert_eq!(harness.get(id).await.state, MessageState::Attempting);
    harness.clock.advance_and_run(MINUTE / 2).await;
    use EventKind::{Claimed, Enqueued, Requeued, Sent};
    assert_eq!(harness.kinds(id).await, [Enqueued, Claimed, Requeued, Claimed, Sent]);
    assert_eq!(harness.weixin.count(SEND), 1);
}

#[tokio::test]
async fn an_outcome_is_settled_when_the_ledger_is_back() {
    let harness = Harness::new();
    harness.weixin.respond_always(SEND, ok());
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
    harness.weixin.respond_always(SEND, ok());
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
    harness.weixin.respond_always(SEND, ok());
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
