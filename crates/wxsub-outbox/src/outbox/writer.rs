//! Group commit: one task writes. What is asked for while a commit is under way goes into the next one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};

use super::wake::Wake;
use super::watch::Finals;
use crate::ledger::{Applied, Change, Ledger, LedgerError};

/// The most changes of one transaction.
const MAX_BATCH: usize = 1024;

type Reply = Result<Applied, LedgerError>;

/// Why commits to the ledger fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerFailure {
    /// The error of the last commit.
    pub error: LedgerError,
    /// How many commits have failed in a row.
    pub commits: u32,
}

struct Job {
    change: Change,
    reply: oneshot::Sender<Reply>,
}

/// Writes to the ledger. The task starts at the first use, and ends with this.
#[derive(Debug)]
pub(crate) struct Writer {
    ledger: Arc<dyn Ledger>,
    finals: Finals,
    wake: Arc<Wake>,
    failure: Arc<Mutex<Option<LedgerFailure>>>,
    task: Mutex<Option<Task>>,
}

#[derive(Debug)]
struct Task {
    jobs: mpsc::UnboundedSender<Job>,
    abort: AbortHandle,
}

impl Writer {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, finals: Finals, wake: Arc<Wake>) -> Self {
        Self { ledger, finals, wake, failure: Arc::default(), task: Mutex::new(None) }
    }

    /// Why commits fail; `None` while they succeed.
    pub(crate) fn failure(&self) -> Option<LedgerFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has one change committed, with whatever else is waiting.
    ///
    /// # Cancel safety
    /// The change may or may not be committed.
    pub(crate) async fn submit(&self, change: Change) -> Reply {
        let (reply, replied) = oneshot::channel();
        self.send(Job { change, reply })?;
        replied
            .await
            .unwrap_or_else(|_| Err(LedgerError::Unknown("the writer ended with its runtime".to_owned())))
    }

    fn send(&self, job: Job) -> Result<(), LedgerError> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match &*task {
            Some(running) => match running.jobs.send(job) {
                Ok(()) => return Ok(()),
                // Its runtime has ended.
                Err(mpsc::error::SendError(job)) => job,
            },
            None => job,
        };
        let unavailable = || LedgerError::Unavailable("no tokio runtime; call it from within one".to_owned());
        let runtime = Handle::try_current().map_err(|_| unavailable())?;
        let (jobs, waiting) = mpsc::unbounded_channel();
        let sent = jobs.send(job).map_err(|_| unavailable());
        let (ledger, failure) = (Arc::clone(&self.ledger), Arc::clone(&self.failure));
        let (finals, wake) = (self.finals.clone(), Arc::clone(&self.wake));
        let publish = move |applied: &Applied| {
            finals.publish(applied);
            wake.publish(applied);
        };
        let writing = write(ledger, publish, failure, waiting);
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

async fn write(
    ledger: Arc<dyn Ledger>,
    publish: impl Fn(&Applied),
    failure: Arc<Mutex<Option<LedgerFailure>>>,
    mut waiting: mpsc::UnboundedReceiver<Job>,
) {
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
        let (changes, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.change, job.reply)).unzip();
        let committed = ledger.commit(changes).await;
        note_failure(&failure, committed.as_ref().err());
        let applied = committed.unwrap_or_else(|error| replies.iter().map(|_| Err(error.clone())).collect());
        for (reply, applied) in replies.into_iter().zip(applied) {
            if let Ok(applied) = &applied {
                publish(applied);
            }
            // Who does not wait any more does not need the reply.
            let _ = reply.send(applied);
        }
    }
}

fn note_failure(failure: &Mutex<Option<LedgerFailure>>, error: Option<&LedgerError>) {
    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
    let commits = failure.as_ref().map_or(0, |before| before.commits).saturating_add(1);
    *failure = error.map(|error| LedgerFailure { error: error.clone(), commits });
}

fn order(change: &Change) -> u8 {
    match change {
        Change::Settle { .. } => 0,
        Change::Claim { .. } => 2,
        _ => 1,
    }
}
