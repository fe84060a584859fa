//! Group commit: one task writes. What is asked for while a commit is under way goes into the next one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};
use wxsub_core::clock::Clock;

use super::wake::Wake;
use super::watch::Finals;
use crate::ledger::{Applied, Change, FromApplied, Ledger, LedgerError, LedgerResult, Results};

/// The most changes of one transaction.
const MAX_BATCH: usize = 1024;

/// Maximum number of changes that wait for the ledger. Callers that gave up may have left some of them.
const MAX_WAITING: usize = 10_000;

type Reply = LedgerResult<Applied>;

/// Why commits to the ledger fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerFailure {
    /// The error of the last commit.
    pub error: LedgerError,
    /// How many commits have failed in a row.
    pub commits: u32,
}

/// What an observer hears of each commit to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitEvent {
    /// How long it took, also if it failed.
    pub duration: Duration,
    /// How many responses it recorded that came after their attempt was given up.
    pub late_answers: u64,
}

struct Job {
    change: Change,
    reply: oneshot::Sender<Reply>,
}

/// Writes to the ledger. The task starts at the first use, and ends with this.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// What the task needs.
pub(super) struct Shared {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) finals: Finals,
    pub(super) wake: Arc<Wake>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) on_commit: Arc<dyn Fn(&CommitEvent) + Send + Sync>,
    pub(super) failure: Mutex<Option<LedgerFailure>>,
}

struct Task {
    jobs: mpsc::Sender<Job>,
    abort: AbortHandle,
}

impl Writer {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), task: Mutex::new(None) }
    }

    /// Why commits fail; `None` while they succeed.
    pub(crate) fn failure(&self) -> Option<LedgerFailure> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has one change committed, with whatever else is waiting.
    ///
    /// # Cancel safety
    /// The change may or may not be committed.
    pub(crate) async fn submit<T: FromApplied>(&self, change: Change) -> LedgerResult<T> {
        let (reply, replied) = oneshot::channel();
        self.send(Job { change, reply })?;
        let ended = || LedgerError::Unknown("the writer ended with its runtime".to_owned());
        T::from_applied(replied.await.map_err(|_| ended())??)
    }

    fn send(&self, job: Job) -> LedgerResult<()> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match &*task {
            Some(running) => match running.jobs.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    let text = format!("{MAX_WAITING} changes wait for the ledger already; try again later");
                    return Err(LedgerError::Unavailable(text));
                }
                // Its runtime has ended.
                Err(TrySendError::Closed(job)) => job,
            },
            None => job,
        };
        let unavailable = || LedgerError::Unavailable("no tokio runtime; call it from within one".to_owned());
        let runtime = Handle::try_current().map_err(|_| unavailable())?;
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let sent = jobs.try_send(job).map_err(|_| unavailable());
        let writing = Arc::clone(&self.shared).write(waiting);
        *task = Some(Task { jobs, abort: runtime.spawn(writing).abort_handle() });
        sent
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort.abort();
        }
    }
}

impl Shared {
    async fn write(self: Arc<Self>, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, MAX_BATCH).await > 0 {
            // First, attempts that end together send their settlements; then their worker sends the claim for their slots.
            for _ in 0..2 {
                yield_now().await;
            }
            while jobs.len() < MAX_BATCH
                && let Ok(job) = waiting.try_recv()
            {
                jobs.push(job);
            }
            // The slots that settlements free are claimed in the same commit.
            jobs.sort_by_key(|job| order(&job.change));
            let (changes, replies): (Vec<_>, Vec<_>) =
                jobs.drain(..).map(|job| (job.change, job.reply)).unzip();
            let committed = self.commit(changes).await;
            let applied =
                committed.unwrap_or_else(|error| replies.iter().map(|_| Err(error.clone())).collect());
            for (reply, applied) in replies.into_iter().zip(applied) {
                if let Ok(applied) = &applied {
                    self.finals.publish(applied);
                    self.wake.publish(applied);
                }
                // Who does not wait any more does not need the reply.
                let _ = reply.send(applied);
            }
        }
    }

    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let started_at = self.clock.now().mono;
        let committed = self.ledger.commit(changes).await;
        let is_late =
            |applied: &&Result<Applied, _>| matches!(applied, Ok(Applied::Settled { is_late: true, .. }));
        let late_answers = committed.iter().flatten().filter(is_late).count() as u64;
        let duration = self.clock.now().mono.duration_since(started_at);
        (self.on_commit)(&CommitEvent { duration, late_answers });
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let commits = failure.as_ref().map_or(0, |before| before.commits).saturating_add(1);
        *failure = committed.as_ref().err().map(|error| LedgerFailure { error: error.clone(), commits });
        drop(failure);
        committed
    }
}

fn order(change: &Change) -> u8 {
    match change {
        Change::Settle { .. } => 0,
        Change::Claim { .. } => 2,
        _ => 1,
    }
}
