//! A ledger in memory: the reference for all others. What it holds is lost when the process ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_proto::{AppId, OpenId};

use super::{Applied, Change, InboxBacklog, Ledger, LedgerError, MessageQuery, Rows, StoredWorker, apply};
use crate::app::StoredApp;
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::MessageId;
use crate::message::{StoredEvent, StoredMessage};
use crate::webhook::{EndpointStatus, StoredDelivery};

/// A ledger in memory: the reference for all others, for tests and for trials. What it holds is lost with it.
pub struct MemoryLedger {
    rows: Mutex<Rows>,
    clock: Arc<dyn Clock>,
}

impl MemoryLedger {
    /// An empty ledger on the real clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty ledger on this clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { rows: Mutex::default(), clock }
    }

    /// A ledger with the same rows on another clock, as a backup of this one: what happens to one does not show in the
    /// other.
    #[must_use]
    pub fn backup(&self, clock: Arc<dyn Clock>) -> Self {
        Self { rows: Mutex::new(self.rows().clone()), clock }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMillis {
        self.clock.now().wall
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryLedger")
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let (mut rows, now) = (self.rows(), self.now());
        let apply_one = |change| {
            let savepoint = rows.savepoint();
            let applied = apply(&mut *rows, change, now);
            if applied.is_err() {
                rows.undo_to(savepoint);
            }
            applied
        };
        let applied = changes.into_iter().map(apply_one).collect();
        rows.forget_undo();
        Ok(applied)
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        Ok(self.rows().find_message(id))
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        Ok(self.rows().history(id))
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        Ok(self.rows().list(query))
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        Ok(self.rows().grants_of(appid, openid))
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        Ok(self.rows().find_app(appid))
    }

    async fn claimable_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        Ok(self.rows().claimable_apps(self.now()))
    }

    async fn first_due_at(&self, appid: &AppId) -> Result<Option<UnixMillis>, LedgerError> {
        Ok(self.rows().first_due_at(appid))
    }

    async fn inbox_backlog(&self, _apps: &[AppId]) -> Result<Option<InboxBacklog>, LedgerError> {
        Ok(None)
    }

    async fn undecided_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        Ok(self.rows().undecided_apps())
    }

    async fn workers(&self) -> Result<Vec<StoredWorker>, LedgerError> {
        Ok(self.rows().workers())
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<StoredAudit>, LedgerError> {
        Ok(self.rows().audit(before, limit))
    }

    async fn webhook_endpoints(&self) -> Result<Vec<EndpointStatus>, LedgerError> {
        let now = self.now();
        Ok(self.rows().endpoint_statuses(now))
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, LedgerError> {
        Ok(self.rows().list_failed_deliveries(endpoint, limit))
    }
}
