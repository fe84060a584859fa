//! A ledger in memory: the reference for all others. What it holds is lost when the process ends.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_proto::{AppId, OpenId};

use super::rows::LAST_ID;
use super::tables::Tables;
use super::{Change, InboxBacklog, Ledger, LedgerResult, MessageQuery, Results, Rows, StoredWorker};
use crate::app::StoredApp;
use crate::audit::StoredAudit;
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId};
use crate::idempotency::BATCH_CLIENT;
use crate::message::{StoredEvent, StoredMessage};
use crate::state::{GrantState, Priority};
use crate::webhook::{EndpointStatus, MAX_COUNTED_DELIVERIES, StoredDelivery, StoredEndpoint};

/// A ledger in memory: the reference for all others, for tests and for trials. What it holds is lost with it.
#[derive(derive_more::Debug)]
#[debug("MemoryLedger")]
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

#[async_trait]
impl Ledger for MemoryLedger {
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let (mut rows, now) = (self.rows(), self.now());
        let applied = rows.apply_all(changes, now);
        // They are kept where they are.
        drop(rows.take_written());
        Ok(applied)
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        self.rows().message(id)
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        Ok(self.rows().history_keys(id).map(|(_, event)| event.clone()).collect())
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        let rows = self.rows();
        let matching = rows.messages.values().filter(|message| query.matches(message));
        Ok(match query.newest_first {
            true => matching.rev().take(query.limit).cloned().collect(),
            false => matching.take(query.limit).cloned().collect(),
        })
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        let rows = self.rows();
        let of_user = |subject: &Subject| subject.appid == *appid && subject.openid == *openid;
        let ids = rows.grants_of.rows.iter().filter(|(subject, _)| of_user(subject)).flat_map(|(_, ids)| ids);
        let mut grants: Vec<_> = ids.filter_map(|id| rows.grants.get(id)).cloned().collect();
        grants.sort_by_key(|grant| grant.consented_at);
        Ok(grants)
    }

    async fn grants_in_state(
        &self,
        appid: &AppId,
        state: GrantState,
        after: Option<GrantId>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredGrant>> {
        let rows = self.rows();
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let grants = rows.grants.rows.range(behind).map(|(_, grant)| grant);
        let wanted = grants.filter(|grant| grant.subject.appid == *appid && grant.state == state);
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn batch_clients(&self, appid: &AppId, limit: usize) -> LedgerResult<Vec<String>> {
        let rows = self.rows();
        let scopes = rows.keys.rows.keys().filter(|scope| scope.appid == *appid);
        let clients: BTreeSet<_> = scopes.map(|scope| &scope.client).collect();
        let of_batches = clients.into_iter().filter(|client| client.starts_with(BATCH_CLIENT));
        Ok(of_batches.take(limit).cloned().collect())
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        self.rows().app(appid)
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        let (rows, now) = (self.rows(), self.now());
        let (mut apps, mut from) = (Vec::new(), Bound::Unbounded);
        while let Some((appid, ..)) = rows.index.queued.range((from, Bound::Unbounded)).next() {
            let pauses = rows.apps.get(appid).map(|app| &app.pauses);
            let may_claim = pauses.is_none_or(|pauses| pauses.claimable(1, now) > 0);
            if may_claim && !rows.due_messages(appid, now, 1).is_empty() {
                apps.push(appid.clone());
            }
            from = Bound::Excluded((appid.clone(), Priority::Low, UnixMillis::new(u64::MAX), LAST_ID));
        }
        Ok(apps)
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        let rows = self.rows();
        let first = |priority: &Priority| {
            let from = (appid.clone(), *priority, UnixMillis::default(), MessageId::from_bytes([0; 16]));
            let to = (appid.clone(), *priority, UnixMillis::new(u64::MAX), LAST_ID);
            rows.index.queued.range(from..=to).next().map(|(_, _, due_at, _)| *due_at)
        };
        Ok(Priority::ALL.iter().filter_map(first).min())
    }

    async fn inbox_backlog(&self, _apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        Ok(None)
    }

    async fn apps(&self) -> LedgerResult<Vec<AppId>> {
        Ok(self.rows().apps.rows.keys().cloned().collect())
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        let rows = self.rows();
        let undecided = rows.index.undecided.iter().filter_map(|id| rows.messages.get(id));
        let apps: BTreeSet<_> = undecided.map(|message| message.appid.clone()).collect();
        Ok(apps.into_iter().collect())
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        Ok(self.rows().workers.values().copied().collect())
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        let rows = self.rows();
        let lines = rows.audit.rows.range(..before.unwrap_or(u64::MAX)).rev();
        Ok(lines.take(limit).map(|(_, line)| line.clone()).collect())
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        let (rows, now) = (self.rows(), self.now());
        let status = |endpoint: &StoredEndpoint| {
            let (mut pending, mut dead) = (0, 0);
            for delivery in rows.deliveries_to(&endpoint.name) {
                *(if delivery.due_at.is_some() { &mut pending } else { &mut dead }) += 1;
            }
            let [pending, dead] = [pending, dead].map(|count: u64| count.min(MAX_COUNTED_DELIVERIES));
            let due_at = rows.deliveries_to(&endpoint.name).filter_map(|delivery| delivery.due_at);
            let due_since = due_at.min().filter(|due_at| *due_at <= now);
            EndpointStatus { endpoint: endpoint.clone(), due_since, pending, dead }
        };
        Ok(rows.endpoints.values().flat_map(|all| all.iter()).map(status).collect())
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        after: Option<&StoredDelivery>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let (rows, after) = (self.rows(), after.map(StoredDelivery::position));
        let is_wanted =
            |delivery: &&StoredDelivery| delivery.error.is_some() && Some(delivery.position()) > after;
        let mut failed: Vec<_> = rows.deliveries_to(endpoint).filter(is_wanted).collect();
        failed.sort_by_key(|delivery| delivery.position());
        Ok(failed.into_iter().take(limit).cloned().collect())
    }
}
