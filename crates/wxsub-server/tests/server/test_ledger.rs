//! A ledger in memory that can be away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use wxsub_core::proto::{AppId, OpenId};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
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
impl Ledger for TestLedger {
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let settles = changes.iter().any(|change| matches!(change, Change::Settle { .. }));
        if self.fails(Fault::Away) || (settles && self.fails(Fault::NoSettle)) {
            return Err(LedgerError::Unavailable("the disk is full".to_owned()));
        }
        let applied = self.rows.commit(changes).await;
        if self.fails(Fault::LostReply) { Err(LedgerError::Unknown("reset".to_owned())) } else { applied }
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.rows.message(id).await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.rows.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        self.rows.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        self.rows.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        self.rows.app(appid).await
    }
}
