//! A ledger in memory: the reference for all others. What it holds is lost when the process ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_proto::{AppId, OpenId};

use super::tables::Tables;
use super::{Change, InboxBacklog, Ledger, LedgerResult, MessageQuery, Results, Rows, StoredWorker};
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
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let (mut rows, now) = (self.rows(), self.now());
        let applied = rows.apply_all(changes, now);
        rows.forget_undo();
        Ok(applied)
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        self.rows().message(id)
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        Ok(self.rows().history(id))
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        Ok(self.rows().list(query))
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        Ok(self.rows().grants_of(appid, openid))
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        self.rows().app(appid)
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        Ok(self.rows().claimable_apps(self.now()))
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        Ok(self.rows().first_due_at(appid))
    }

    async fn inbox_backlog(&self, _apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        Ok(None)
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        Ok(self.rows().undecided_apps())
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        Ok(self.rows().workers())
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        Ok(self.rows().audit(before, limit))
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        let now = self.now();
        Ok(self.rows().endpoint_statuses(now))
    }

    async fn failed_deliveries(&self, endpoint: &str, limit: usize) -> LedgerResult<Vec<StoredDelivery>> {
        self.rows().failed_deliveries(endpoint, limit)
    }
}
