//! A ledger that can be away, and that says whether it is at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::{AppId, OpenId};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, InboxBacklog, MessageQuery, StoredWorker};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{EndpointStatus, StoredDelivery};
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
    /// No commit ends.
    Silent,
    /// The reading of undecided apps does not end.
    SilentPolicies,
    /// The reading of workers does not end.
    SilentWorkers,
    /// The reading of the app `wx1` does not end.
    SilentApp,
}

#[derive(Debug)]
pub(crate) struct TestLedger {
    rows: Box<dyn Ledger>,
    fault: AtomicU8,
    running: AtomicUsize,
    /// How many commits do not end.
    silent: AtomicUsize,
    /// How many claims of webhooks were committed.
    webhook_claims: AtomicUsize,
}

/// A call of the ledger.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TestLedger {
    /// In memory.
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self::around(MemoryLedger::with_clock(clock))
    }

    pub(crate) fn around(rows: impl Ledger + 'static) -> Self {
        let fault = AtomicU8::new(Fault::None as u8);
        let (running, silent, webhook_claims) = Default::default();
        Self { rows: Box::new(rows), fault, running, silent, webhook_claims }
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
    }

    /// Whether a commit waits for ever.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn webhook_claims(&self) -> usize {
        self.webhook_claims.load(Ordering::SeqCst)
    }

    fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(&self.running)
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
        let claims = changes.iter().filter(|change| matches!(change, Change::ClaimDeliveries { .. })).count();
        self.webhook_claims.fetch_add(claims, Ordering::SeqCst);
        let settles = changes.iter().any(|change| matches!(change, Change::Settle { .. }));
        if self.fails(Fault::Away) || (settles && self.fails(Fault::NoSettle)) {
            return Err(LedgerError::Unavailable("the disk is full".to_owned()));
        }
        if self.fails(Fault::Silent) {
            self.silent.fetch_add(1, Ordering::SeqCst);
            return std::future::pending().await;
        }
        let _running = self.begin();
        let applied = self.rows.commit(changes).await;
        if self.fails(Fault::LostReply) { Err(LedgerError::Unknown("reset".to_owned())) } else { applied }
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        let _running = self.begin();
        self.rows.message(id).await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        let _running = self.begin();
        self.rows.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        let _running = self.begin();
        self.rows.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        let _running = self.begin();
        self.rows.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        if self.fails(Fault::SilentApp) && appid.as_str() == "wx1" {
            return std::future::pending().await;
        }
        let _running = self.begin();
        self.rows.app(appid).await
    }

    async fn workers(&self) -> Result<Vec<StoredWorker>, LedgerError> {
        if self.fails(Fault::SilentWorkers) {
            return std::future::pending().await;
        }
        let _running = self.begin();
        self.rows.workers().await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<StoredAudit>, LedgerError> {
        let _running = self.begin();
        self.rows.audit(before, limit).await
    }

    async fn claimable_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        let _running = self.begin();
        self.rows.claimable_apps().await
    }

    async fn apps(&self) -> Result<Vec<AppId>, LedgerError> {
        let _running = self.begin();
        self.rows.apps().await
    }

    async fn undecided_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        if self.fails(Fault::SilentPolicies) {
            return std::future::pending().await;
        }
        let _running = self.begin();
        self.rows.undecided_apps().await
    }

    async fn first_due_at(&self, appid: &AppId) -> Result<Option<UnixMillis>, LedgerError> {
        let _running = self.begin();
        self.rows.first_due_at(appid).await
    }

    async fn inbox_backlog(&self, apps: &[AppId]) -> Result<Option<InboxBacklog>, LedgerError> {
        let _running = self.begin();
        self.rows.inbox_backlog(apps).await
    }

    async fn webhook_endpoints(&self) -> Result<Vec<EndpointStatus>, LedgerError> {
        let _running = self.begin();
        self.rows.webhook_endpoints().await
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, LedgerError> {
        let _running = self.begin();
        self.rows.failed_deliveries(endpoint, limit).await
    }
}
