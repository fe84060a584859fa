//! The calls of an idle worker to its ledger.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::testing::{ManualClock, MockTransport};
use wxsub_outbox::ledger::{Change, LedgerLayer, Results};
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{App, Ledger, LedgerResult, MaybeSentPolicy, MemoryLedger, Outbox, OutboxMessage};

use super::harness::{MINUTE, SECOND, SEND, message, weixin};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A ledger in memory that counts its calls.
#[derive(Debug)]
struct CountingLedger {
    ledger: MemoryLedger,
    reads: AtomicUsize,
    commits: AtomicUsize,
    changes: AtomicUsize,
}

/// The numbers of calls to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    reads: usize,
    commits: usize,
    changes: usize,
}

impl LedgerLayer for CountingLedger {
    /// Every read comes through here.
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(&self.ledger)
    }

    async fn commit_through(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes.len(), Ordering::Relaxed);
        self.ledger.commit(changes).await
    }
}

impl CountingLedger {
    fn counts(&self) -> Counts {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Counts { reads: count(&self.reads), commits: count(&self.commits), changes: count(&self.changes) }
    }
}

struct Process {
    outbox: Outbox,
    ledger: Arc<CountingLedger>,
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    worker: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Process {
    /// A worker with so many apps, which has begun.
    async fn with_apps(apps: usize) -> Self {
        let (clock, weixin) = (Arc::new(ManualClock::new()), weixin());
        let counter = AtomicUsize::default;
        let ledger = MemoryLedger::with_clock(clock.clone());
        let (reads, commits, changes) = (counter(), counter(), counter());
        let ledger = Arc::new(CountingLedger { ledger, reads, commits, changes });
        let mut builder =
            Outbox::with_ledger(ledger.clone()).clock(clock.clone()).poll_interval(POLL_INTERVAL);
        for number in 0..apps {
            let client = Client::builder(format!("wx{number}"), "SECRET", weixin.clone());
            let client = client.clock(clock.clone()).build().unwrap();
            let app = App::new(format!("wx{number}").parse().unwrap(), client);
            builder = builder.app(app.maybe_sent(MaybeSentPolicy::AssumeSent));
        }
        let outbox = builder.build();
        let worker = outbox.clone();
        let worker = tokio::spawn(async move { worker.run(pending()).await.unwrap() });
        let process = Self { outbox, ledger, clock, weixin, worker };
        process.clock.advance_and_run(MINUTE).await;
        process
    }

    fn app(&self, number: usize) -> Outbox {
        self.outbox.for_app(&format!("wx{number}").parse().unwrap()).unwrap()
    }

    /// The calls to the ledger within a minute.
    async fn minute(&self) -> Counts {
        let before = self.ledger.counts();
        self.clock.advance_and_run(MINUTE).await;
        let after = self.ledger.counts();
        Counts {
            reads: after.reads - before.reads,
            commits: after.commits - before.commits,
            changes: after.changes - before.changes,
        }
    }
}

#[tokio::test]
async fn idle_apps_cost_nothing() {
    let one = Process::with_apps(1).await.minute().await;
    let thousand = Process::with_apps(1_000).await.minute().await;
    assert_eq!(thousand, one);
    // In each interval it asks once, and waits for a notification; with each of twelve heartbeats it asks for messages that
    // its policies decide.
    assert_eq!(one.reads, 2 * 120 + 12);
    assert_eq!(one.commits, 24, "a heartbeat and a sweep every 5 s");
}

#[tokio::test]
async fn an_app_that_waits_costs_no_claim() {
    let process = Process::with_apps(3).await;
    let idle = process.minute().await;
    process.app(0).pause("ops", "night").await.unwrap();
    process.app(0).enqueue(OutboxMessage::new(message("paused"))).await.unwrap();
    let in_an_hour = process.clock.now().wall + 60 * MINUTE;
    process.app(1).enqueue(OutboxMessage::new(message("later")).send_at(in_an_hour)).await.unwrap();
    process.clock.advance_and_run(SECOND).await;
    assert_eq!(process.minute().await, idle);
    assert_eq!(process.weixin.count(SEND), 0);
    process.clock.advance_and_run(59 * MINUTE).await;
    process.app(0).resume().await.unwrap();
    process.clock.advance_and_run(SECOND).await;
    assert_eq!(process.weixin.count(SEND), 2);
}

/// The clock stands still.
#[tokio::test]
async fn a_message_of_this_process_waits_for_no_poll() {
    let process = Process::with_apps(3).await;
    let queued = process.app(1).enqueue(OutboxMessage::new(message("a"))).await.unwrap();
    assert_eq!(process.outbox.wait(queued.id()).await.unwrap().state, MessageState::Sent);
}
