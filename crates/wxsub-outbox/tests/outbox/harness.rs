//! An outbox over a transport that follows a script and a ledger that fails on demand.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::proto::{Grant, Message};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Change, LedgerLayer, Results};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::EventKind;
use wxsub_outbox::{
    App, Ledger, LedgerError, LedgerResult, MemoryLedger, Outbox, OutboxBuilder, OutboxError, OutboxMessage,
};

pub(super) use wxsub_core::proto::endpoint::{subscribe::PATH as SEND, token::PATH as TOKEN};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Unavailable,
    LostReply,
    Slow(Duration),
}

type Plan = Box<dyn FnMut(&Change) -> Option<Fault> + Send>;

/// A ledger in memory whose commits fail, and whose reads hang, on demand.
#[derive(derive_more::Debug)]
#[debug("FaultyLedger")]
pub(super) struct FaultyLedger {
    ledger: MemoryLedger,
    pub(super) reads_hang: AtomicBool,
    reads: AtomicUsize,
    commits: AtomicUsize,
    changes: AtomicUsize,
    clock: Arc<ManualClock>,
    plan: Mutex<Plan>,
}

impl LedgerLayer for FaultyLedger {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        // Every read comes through here.
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.reads_hang.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        Ok(&self.ledger)
    }

    async fn commit_through(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes.len(), Ordering::Relaxed);
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
}

/// The numbers of calls to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) reads: usize,
    pub(super) commits: usize,
    pub(super) changes: usize,
}

pub(super) struct Harness {
    pub(super) outbox: Outbox,
    pub(super) ledger: Arc<FaultyLedger>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) weixin: Arc<MockTransport>,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self::with(|app| app)
    }

    /// With these settings of the app.
    pub(super) fn with(settings: impl FnOnce(App) -> App) -> Self {
        let (clock, weixin) = (Arc::new(ManualClock::new()), weixin());
        let client = Client::builder("wx1", "SECRET", weixin.clone()).clock(clock.clone()).build().unwrap();
        Self::with_app(settings(App::new("wx1".parse().unwrap(), client)), clock, weixin)
    }

    pub(super) fn with_client(client: Client, clock: Arc<ManualClock>, weixin: Arc<MockTransport>) -> Self {
        Self::with_app(App::new("wx1".parse().unwrap(), client), clock, weixin)
    }

    pub(super) fn with_app(app: App, clock: Arc<ManualClock>, weixin: Arc<MockTransport>) -> Self {
        Self::with_apps([app], 5 * SECOND, clock, weixin)
    }

    pub(super) fn with_apps(
        apps: impl IntoIterator<Item = App>,
        poll_interval: Duration,
        clock: Arc<ManualClock>,
        weixin: Arc<MockTransport>,
    ) -> Self {
        let (reads_hang, reads, commits, changes) = Default::default();
        let plan = Mutex::new(Box::new(|_: &Change| None) as Plan);
        let (ledger, clock_of_ledger) = (MemoryLedger::with_clock(clock.clone()), clock.clone());
        let ledger =
            FaultyLedger { ledger, reads_hang, reads, commits, changes, clock: clock_of_ledger, plan };
        let ledger = Arc::new(ledger);
        let builder = Outbox::with_ledger(ledger.clone()).clock(clock.clone()).id_seed(1);
        let builder = apps.into_iter().fold(builder.poll_interval(poll_interval), OutboxBuilder::app);
        Self { outbox: builder.build(), ledger, clock, weixin }
    }

    /// The calls to the ledger so far.
    pub(super) fn calls(&self) -> Calls {
        let [reads, commits, changes] = [&self.ledger.reads, &self.ledger.commits, &self.ledger.changes]
            .map(|counter| counter.load(Ordering::Relaxed));
        Calls { reads, commits, changes }
    }

    pub(super) fn run(&self) -> JoinHandle<Result<(), OutboxError>> {
        let outbox = self.outbox.clone();
        tokio::spawn(async move { outbox.run(pending()).await })
    }

    /// Runs a worker that has a token.
    pub(super) async fn run_with_token(&self) {
        self.run();
        let first = self.enqueue("first").await;
        self.outbox.wait(first).await.unwrap();
    }

    pub(super) fn plan(&self, plan: impl FnMut(&Change) -> Option<Fault> + Send + 'static) {
        *self.ledger.plan.lock().unwrap() = Box::new(plan);
    }

    /// Counts these changes from now on.
    pub(super) fn count(&self, is_counted: impl Fn(&Change) -> bool + Send + 'static) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        self.plan(move |change| {
            counted.fetch_add(usize::from(is_counted(change)), Ordering::Relaxed);
            None
        });
        count
    }

    /// The first claim meets this fault.
    pub(super) fn fail_first_claim(&self, fault: Fault) {
        let mut faults = vec![fault];
        self.plan(move |change| matches!(change, Change::Claim { .. }).then(|| faults.pop()).flatten());
    }

    pub(super) async fn enqueue(&self, user: &str) -> MessageId {
        self.outbox.enqueue(OutboxMessage::new(message(user))).await.unwrap().id()
    }

    pub(super) async fn get(&self, id: MessageId) -> StoredMessage {
        self.ledger.message(id).await.unwrap().unwrap()
    }

    pub(super) async fn kinds(&self, id: MessageId) -> Vec<EventKind> {
        self.ledger.history(id).await.unwrap().iter().map(|event| event.kind).collect()
    }
}

/// Issues a token, and accepts every message.
pub(super) fn weixin() -> Arc<MockTransport> {
    let weixin = MockTransport::new();
    weixin.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    weixin.respond_always(SEND, ok());
    Arc::new(weixin)
}

pub(super) fn message(user: &str) -> Message {
    let grant = Grant::assume_verified(user, "T", 7).unwrap();
    Message::builder(grant).title("Title").content("Text").build().unwrap()
}

pub(super) fn ok() -> MockResponse {
    MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#)
}
