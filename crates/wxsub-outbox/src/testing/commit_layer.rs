//! A ledger whose commits go through other code: faults, crashes, counts.

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, OpenId};

use crate::app::StoredApp;
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::MessageId;
use crate::ledger::{Change, InboxBacklog, Ledger, LedgerResult, MessageQuery, Results, StoredWorker};
use crate::message::{StoredEvent, StoredMessage};
use crate::webhook::{EndpointStatus, StoredDelivery};

/// What happens to the commits of another ledger. It is a [`Ledger`], whose reads are those of the other one.
#[async_trait]
pub trait CommitLayer: Send + Sync + std::fmt::Debug {
    /// The other ledger. Each read waits for this.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn ledger(&self) -> &dyn Ledger;

    /// As [`Ledger::commit`], with what is tested in between.
    ///
    /// # Errors
    /// Those of [`Ledger::commit`], on demand.
    ///
    /// # Cancel safety
    /// As [`Ledger::commit`].
    async fn commit_through(&self, changes: Vec<Change>) -> LedgerResult<Results>;
}

#[async_trait]
impl<L: CommitLayer> Ledger for L {
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        self.commit_through(changes).await
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        self.ledger().await.message(id).await
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        self.ledger().await.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        self.ledger().await.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        self.ledger().await.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        self.ledger().await.app(appid).await
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.ledger().await.claimable_apps().await
    }

    async fn notified(&self) {
        self.ledger().await.notified().await;
    }

    async fn apps(&self) -> LedgerResult<Vec<AppId>> {
        self.ledger().await.apps().await
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.ledger().await.undecided_apps().await
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        self.ledger().await.first_due_at(appid).await
    }

    async fn inbox_backlog(&self, apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        self.ledger().await.inbox_backlog(apps).await
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        self.ledger().await.workers().await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        self.ledger().await.audit(before, limit).await
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        self.ledger().await.webhook_endpoints().await
    }

    async fn failed_deliveries(&self, endpoint: &str, limit: usize) -> LedgerResult<Vec<StoredDelivery>> {
        self.ledger().await.failed_deliveries(endpoint, limit).await
    }
}
