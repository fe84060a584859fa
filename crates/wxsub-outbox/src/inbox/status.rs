//! The status of an inbox.

use super::InboxError;
use crate::ledger::{Rejected, RowOutcomes};

/// How many rows of an inbox were recorded or rejected so far, and whether attempts fail now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxStatus {
    /// So many rows were recorded, those that were known before included.
    pub copied: u64,
    /// So many of them break a rule, or their grant did not allow them: they are `not_sent`.
    pub not_sent: u64,
    /// So many rows got an `error` and stay in the table.
    pub rejected: u64,
    /// The last such row.
    pub last_rejected: Option<Rejected>,
    /// The last read found no row that can be recorded here.
    pub is_empty: bool,
    /// In the ledger's own inbox, so many rows wait for a process that serves their apps. At most
    /// [`MAX_FOREIGN_ROWS`](crate::ledger::MAX_FOREIGN_ROWS) are counted, and only while no other row waits.
    pub foreign_rows: u64,
    /// So many attempts have failed in a row.
    pub failures: u32,
    /// Why the last one failed; `None` if it did not.
    pub error: Option<InboxError>,
}

impl InboxStatus {
    /// Adds rows that were recorded or rejected.
    pub(super) fn add(&mut self, outcomes: RowOutcomes) {
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        for Rejected { id, error } in &outcomes.rejected {
            tracing::warn!(?id, error, "inbox: a row was rejected");
        }
        self.copied += count(outcomes.recorded.len());
        self.rejected += count(outcomes.rejected.len());
        self.not_sent += outcomes.not_sent;
        self.last_rejected = outcomes.rejected.into_iter().next_back().or(self.last_rejected.take());
    }

    /// Records how an attempt ended.
    pub(super) fn note<T>(&mut self, attempt: &Result<T, InboxError>) {
        match attempt {
            Ok(_) => (self.failures, self.error) = (0, None),
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.error = Some(error.clone());
            }
        }
    }
}
