//! Copies the rows of an inbox to the outbox: record, then delete.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use wxsub_core::clock::{Clock, timeout_at};
use wxsub_proto::AppId;

use super::decision::decide;
use super::row::InboxRow;
use super::{Inbox, InboxError, InboxStatus};
use crate::ledger::{Change, RowOutcomes};
use crate::outbox::{Inner, Outbox};

/// How many rows are copied at a time.
pub(super) const BATCH: usize = 1_000;

/// How long each step may take: reading, recording, deleting.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a failure. It doubles up to [`MAX_RETRY_DELAY`].
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest pause after a failure.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Copies the rows of an inbox to an outbox. Several may run on one table, in several processes.
///
/// A row is deleted only after its message is recorded, and only if its message is the one that was recorded. A row whose id
/// or app cannot be read stays, with `error` set, and does not hold up the others.
#[derive(Debug)]
pub struct InboxCopier {
    outbox: Outbox,
    inbox: Box<dyn Inbox>,
    /// Only for these, if given.
    apps: Option<Vec<AppId>>,
    status: watch::Sender<InboxStatus>,
}

impl InboxCopier {
    /// Copies to this outbox, for all of its apps.
    #[must_use]
    pub fn new(outbox: &Outbox, inbox: impl Inbox + 'static) -> Self {
        Self { outbox: outbox.clone(), inbox: Box::new(inbox), apps: None, status: watch::Sender::default() }
    }

    /// Takes rows of these apps only. Those of others get an `error`.
    #[must_use]
    pub fn apps(mut self, apps: Vec<AppId>) -> Self {
        self.apps = Some(apps);
        self
    }

    /// What the copier has done so far. It changes after each attempt.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<InboxStatus> {
        self.status.subscribe()
    }

    /// Copies rows until `shutdown` is ready. While the inbox or the ledger fails, it tries again after a pause of 1 to 60 s.
    ///
    /// # Cancel safety
    /// No row is lost. Rows that were recorded and not deleted are deleted by the next copier.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let copying = async {
            loop {
                let copied = self.copy().await;
                pause_after(copied, "copying", &self.outbox.inner, &self.status).await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown => {}
            () = copying => {}
        }
    }

    /// Copies one batch of rows, and gives how many left the queue of the table: they were recorded and deleted, or got an
    /// `error`.
    ///
    /// # Errors
    /// [`InboxError`]: the rows stay, and are copied by a later call.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn copy(&mut self) -> Result<usize, InboxError> {
        let result = self.try_copy().await;
        self.status.send_modify(|status| status.note(&result));
        result
    }

    async fn try_copy(&mut self) -> Result<usize, InboxError> {
        let clock = Arc::clone(&self.outbox.inner.clock);
        let rows = in_time(&*clock, "reading", self.inbox.read(BATCH)).await??;
        self.status.send_modify(|status| status.is_empty = rows.is_empty());
        if rows.is_empty() {
            return Ok(0);
        }
        let decided = rows.into_iter().map(|row| (self.decide(&row), row.id)).collect();
        let recording = record(&self.outbox, decided);
        let mut outcomes = in_time(&*clock, "recording in the ledger", recording).await?;
        let (done, error) = (outcomes.done(), outcomes.error.take());
        if done > 0 {
            let (recorded, rejected) = (outcomes.recorded.clone(), outcomes.rejected.clone());
            in_time(&*clock, "deleting", self.inbox.finish(recorded, rejected)).await??;
            self.status.send_modify(|status| status.add(outcomes));
        }
        error.map_or(Ok(done), |error| Err(error.into()))
    }

    fn decide(&self, row: &InboxRow) -> Result<Change, String> {
        decide(row, |appid| {
            let is_served = self.apps.as_ref().is_none_or(|apps| apps.contains(appid));
            self.outbox.inner.apps.get(appid).filter(|_| is_served).map(|app| app.require_grant)
        })
    }
}

/// Records the rows, together with what else is being committed.
async fn record(outbox: &Outbox, decided: Vec<(Result<Change, String>, String)>) -> RowOutcomes {
    let recorded = decided.into_iter().map(async |(decided, id)| match decided {
        Ok(change) => (id, Ok(outbox.inner.writer.submit(change).await)),
        Err(error) => (id, Err(error)),
    });
    let mut outcomes = RowOutcomes::default();
    for (id, recorded) in join_all(recorded).await {
        outcomes.add(id, recorded);
    }
    outcomes
}

async fn in_time<T>(clock: &dyn Clock, step: &str, work: impl Future<Output = T>) -> Result<T, InboxError> {
    let done = timeout_at(clock, clock.now().mono + STEP_TIMEOUT, work).await;
    let too_slow = || format!("{step} took longer than {} s", STEP_TIMEOUT.as_secs());
    done.ok_or_else(|| InboxError::Unavailable(too_slow()))
}

/// Waits for the time of the next attempt: not at all if more rows may be waiting.
pub(super) async fn pause_after(
    attempt: Result<usize, InboxError>,
    what: &str,
    inner: &Inner,
    status: &watch::Sender<InboxStatus>,
) {
    let wait = match attempt {
        Ok(done) if done >= BATCH => return,
        Ok(_) => inner.poll_interval,
        Err(error) => {
            let failures = status.borrow().failures;
            tracing::warn!(%error, failures, "inbox: {what} failed");
            retry_delay(failures)
        }
    };
    inner.clock.sleep_until(inner.clock.now().mono + wait).await;
}

fn retry_delay(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    MIN_RETRY_DELAY.saturating_mul(doubled).min(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_a_failure_doubles_up_to_its_bound() {
        let delays: Vec<_> = (0..9).map(|failures| retry_delay(failures).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry_delay(u32::MAX), MAX_RETRY_DELAY);
    }
}
