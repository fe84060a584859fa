//! Group commit: one task writes. What is asked for while a commit is under way goes into the next one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::watch::Finals;
use crate::ledger::{Applied, Change, Ledger, LedgerError};

/// The most changes of one transaction.
const MAX_BATCH: usize = 256;

type Reply = Result<Applied, LedgerError>;

struct Job {
    change: Change,
    reply: oneshot::Sender<Reply>,
}

/// Writes to the ledger. The task starts at the first use, and ends with this.
#[derive(Debug)]
pub(crate) struct Writer {
    ledger: Arc<dyn Ledger>,
    finals: Finals,
    task: Mutex<Option<Task>>,
}

#[derive(Debug)]
struct Task {
    jobs: mpsc::UnboundedSender<Job>,
    abort: AbortHandle,
}

impl Writer {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, finals: Finals) -> Self {
        Self { ledger, finals, task: Mutex::new(None) }
    }

    pub(crate) fn finals(&self) -> &Finals {
        &self.finals
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
        let writing = write(Arc::clone(&self.ledger), self.finals.clone(), waiting);
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

async fn write(ledger: Arc<dyn Ledger>, finals: Finals, mut waiting: mpsc::UnboundedReceiver<Job>) {
    let mut jobs = Vec::new();
    while waiting.recv_many(&mut jobs, MAX_BATCH).await > 0 {
        // The slots that settlements free are claimed in the same commit.
        jobs.sort_by_key(|job| order(&job.change));
        let (changes, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.change, job.reply)).unzip();
        let applied = match ledger.commit(changes).await {
            Ok(applied) => applied,
            Err(error) => {
                tracing::warn!(%error, changes = replies.len(), "commit failed");
                replies.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (reply, applied) in replies.into_iter().zip(applied) {
            if let Ok(applied) = &applied {
                finals.publish(applied);
            }
            // Who does not wait any more does not need the reply.
            let _ = reply.send(applied);
        }
    }
}

fn order(change: &Change) -> u8 {
    match change {
        Change::Settle { .. } => 0,
        Change::Claim { .. } => 2,
        _ => 1,
    }
}
