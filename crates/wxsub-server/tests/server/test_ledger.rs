//! A ledger in memory that can be away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use wxsub_core::testing::ManualClock;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::testing::CommitLayer;
use wxsub_outbox::{Ledger, LedgerError, MemoryLedger};

/// How commits fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// Every commit.
    Away,
    /// The commit is done, and its reply is lost.
    LostReply,
    /// Only the outcomes of attempts are not taken.
    NoSettle,
}

#[derive(Debug)]
pub(crate) struct TestLedger {
    rows: MemoryLedger,
    fault: AtomicU8,
}

impl TestLedger {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self { rows: MemoryLedger::with_clock(clock), fault: AtomicU8::new(Fault::None as u8) }
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    fn fails(&self, fault: Fault) -> bool {
        self.fault.load(Ordering::SeqCst) == fault as u8
    }
}

#[async_trait]
impl CommitLayer for TestLedger {
    fn ledger(&self) -> &dyn Ledger {
        &self.rows
    }

    async fn commit_through(
        &self,
        changes: Vec<Change>,
    ) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let settles = changes.iter().any(|change| matches!(change, Change::Settle { .. }));
        if self.fails(Fault::Away) || (settles && self.fails(Fault::NoSettle)) {
            return Err(LedgerError::Unavailable("the disk is full".to_owned()));
        }
        let applied = self.rows.commit(changes).await;
        if self.fails(Fault::LostReply) { Err(LedgerError::Unknown("reset".to_owned())) } else { applied }
    }
}
