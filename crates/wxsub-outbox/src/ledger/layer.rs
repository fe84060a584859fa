//! A ledger in front of another one.

use std::future::pending;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, OpenId};

use super::{Change, InboxBacklog, Ledger, LedgerResult, MessageQuery, Results, StoredWorker};
use crate::app::StoredApp;
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::{GrantId, MessageId};
use crate::message::{StoredEvent, StoredMessage};
use crate::state::GrantState;
use crate::webhook::{EndpointStatus, StoredDelivery};

/// A ledger in front of another one: one that is opened late, or fails on demand. It is a [`Ledger`], whose calls are those of the
/// other one unless it changes them.
pub trait LedgerLayer: Send + Sync + std::fmt::Debug {
    /// The other ledger. Each call waits for this.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) if there is none now.
    ///
    /// # Cancel safety
    /// Changes nothing.
    fn ledger(&self) -> impl Future<Output = LedgerResult<&dyn Ledger>> + Send;

    /// As [`Ledger::commit`].
    ///
    /// # Errors
    /// Those of [`Ledger::commit`].
    ///
    /// # Cancel safety
    /// As [`Ledger::commit`].
    fn commit_through(&self, changes: Vec<Change>) -> impl Future<Output = LedgerResult<Results>> + Send {
        async { self.ledger().await?.commit(changes).await }
    }

    /// Makes a read: calls this method of the other ledger.
    ///
    /// # Errors
    /// Those of the read.
    ///
    /// # Cancel safety
    /// Changes nothing.
    fn read_through<'a, T: Send>(
        &'a self,
        _method: &'static str,
        read: impl FnOnce(&'a dyn Ledger) -> BoxFuture<'a, LedgerResult<T>> + Send,
    ) -> impl Future<Output = LedgerResult<T>> + Send {
        async { read(self.ledger().await?).await }
    }

    /// As [`Ledger::notified`].
    ///
    /// # Cancel safety
    /// As [`Ledger::notified`].
    fn notified_through(&self) -> impl Future<Output = ()> + Send {
        async {
            match self.ledger().await {
                Ok(ledger) => ledger.notified().await,
                Err(_) => pending().await,
            }
        }
    }
}

#[async_trait]
impl<L: LedgerLayer> Ledger for L {
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        self.commit_through(changes).await
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        self.read_through("message", |ledger| ledger.message(id)).await
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        self.read_through("history", |ledger| ledger.history(id)).await
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        self.read_through("messages", |ledger| ledger.messages(query)).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        self.read_through("grants", |ledger| ledger.grants(appid, openid)).await
    }

    async fn grants_in_state(
        &self,
        appid: &AppId,
        state: GrantState,
        after: Option<GrantId>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredGrant>> {
        self.read_through("grants_in_state", |ledger| ledger.grants_in_state(appid, state, after, limit))
            .await
    }

    async fn batch_clients(&self, appid: &AppId, limit: usize) -> LedgerResult<Vec<String>> {
        self.read_through("batch_clients", |ledger| ledger.batch_clients(appid, limit)).await
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        self.read_through("app", |ledger| ledger.app(appid)).await
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.read_through("claimable_apps", |ledger| ledger.claimable_apps()).await
    }

    async fn notified(&self) {
        self.notified_through().await;
    }

    async fn apps(&self) -> LedgerResult<Vec<AppId>> {
        self.read_through("apps", |ledger| ledger.apps()).await
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.read_through("undecided_apps", |ledger| ledger.undecided_apps()).await
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        self.read_through("first_due_at", |ledger| ledger.first_due_at(appid)).await
    }

    async fn inbox_backlog(&self, apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        self.read_through("inbox_backlog", |ledger| ledger.inbox_backlog(apps)).await
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        self.read_through("workers", |ledger| ledger.workers()).await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        self.read_through("audit", |ledger| ledger.audit(before, limit)).await
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        self.read_through("webhook_endpoints", |ledger| ledger.webhook_endpoints()).await
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        after: Option<&StoredDelivery>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        self.read_through("failed_deliveries", |ledger| ledger.failed_deliveries(endpoint, after, limit))
            .await
    }
}
