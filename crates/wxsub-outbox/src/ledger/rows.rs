//! The tables in memory, their indexes, and what it takes to undo a change.

mod table;
mod written;

pub use table::Write;
pub use written::{Written, WrittenApp};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use self::table::{Table, Writes};
use super::tables::{StoredWorker, Tables};
use super::{Change, LedgerError, LedgerResult, Results, apply};
use crate::app::StoredApp;
use crate::audit::{AuditEntry, StoredAudit};
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{IdempotencyKey, KeyScope, StoredKey};
use crate::message::{StoredEvent, StoredMessage};
use crate::state::{AuditOutcome, GrantState, MessageState, Priority};
use crate::webhook::{DeliveryId, StoredDelivery, StoredEndpoint};

/// Rows in memory: all rows of a [`MemoryLedger`](super::MemoryLedger), or those of a database that a batch names.
///
/// A ledger over a database loads rows with the methods `load_…`, applies changes, and writes [what changed](Self::take_written).
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub(super) workers: Table<WorkerId, StoredWorker>,
    pub(super) apps: Table<AppId, StoredApp>,
    pub(super) grants: Table<GrantId, StoredGrant>,
    /// In the order in which they were recorded.
    pub(super) grants_of: Table<Subject, Vec<GrantId>>,
    pub(super) nonces: Table<[u8; 16], GrantId>,
    pub(super) messages: Table<MessageId, StoredMessage>,
    /// By message and version.
    pub(super) events: Table<(MessageId, u32), StoredEvent>,
    pub(super) keys: Table<KeyScope, StoredKey>,
    /// One row has all of them.
    pub(super) endpoints: Table<(), Arc<[StoredEndpoint]>>,
    pub(super) deliveries: Table<DeliveryId, StoredDelivery>,
    /// By their numbers.
    pub(super) audit: Table<u64, StoredAudit>,
    pub(super) index: Index,
}

/// The number of tables.
const TABLES: usize = 11;

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) queued: BTreeSet<(AppId, Priority, UnixMillis, MessageId)>,
    pub(super) expiring: BTreeSet<(UnixMillis, MessageId)>,
    pub(super) attempting: BTreeSet<MessageId>,
    pub(super) undecided: BTreeSet<MessageId>,
    pub(super) holders: BTreeMap<GrantId, MessageId>,
}

/// No id is greater.
pub(super) const LAST_ID: MessageId = MessageId::from_bytes([0xFF; 16]);

impl Rows {
    fn tables(&mut self) -> [&mut dyn Writes; TABLES] {
        [
            &mut self.workers,
            &mut self.apps,
            &mut self.grants,
            &mut self.grants_of,
            &mut self.nonces,
            &mut self.messages,
            &mut self.events,
            &mut self.keys,
            &mut self.endpoints,
            &mut self.deliveries,
            &mut self.audit,
        ]
    }

    /// Applies changes in their order. One that fails is undone alone.
    pub fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>, now: UnixMillis) -> Results {
        let apply_one = |change| {
            let savepoint = self.tables().map(|table| table.count());
            let applied = apply(self, change, now);
            if applied.is_err() {
                self.undo_to(savepoint);
            }
            applied
        };
        changes.into_iter().map(apply_one).collect()
    }

    /// Undoes all that was written since the rows were loaded.
    pub fn undo_all(&mut self) {
        self.undo_to([0; TABLES]);
    }

    fn undo_to(&mut self, savepoint: [usize; TABLES]) {
        for (table, count) in self.tables().into_iter().zip(savepoint) {
            table.undo_to(count);
        }
        self.index = Index::default();
        self.messages.values().for_each(|message| self.index.insert(message));
    }

    pub(super) fn history_keys(
        &self,
        id: MessageId,
    ) -> impl Iterator<Item = (&(MessageId, u32), &StoredEvent)> {
        self.events.rows.range((id, 0)..=(id, u32::MAX))
    }

    /// Puts a message in place of the one with its id, and keeps the indexes right.
    fn replace(&mut self, id: MessageId, message: Option<StoredMessage>) {
        if let Some(before) = self.messages.put(id, message) {
            self.index.remove(before);
        }
        if let Some(message) = self.messages.get(&id) {
            self.index.insert(message);
        }
    }

    pub(super) fn deliveries_to(&self, endpoint: &str) -> impl Iterator<Item = &StoredDelivery> {
        self.deliveries.values().filter(move |delivery| delivery.id.endpoint == endpoint)
    }

    pub(super) fn due_messages(&self, appid: &AppId, now: UnixMillis, limit: usize) -> Vec<StoredMessage> {
        let first = MessageId::from_bytes([0; 16]);
        let mut due = Vec::new();
        for priority in Priority::ALL {
            let from = (appid.clone(), *priority, UnixMillis::default(), first);
            let to = (appid.clone(), *priority, now, LAST_ID);
            let ids = self.index.queued.range(from..=to).map(|(.., id)| *id);
            due.extend(self.some_messages(ids, |message| message.is_due(now), limit - due.len()));
        }
        due
    }

    fn some_messages(
        &self,
        ids: impl IntoIterator<Item = MessageId>,
        wanted: impl Fn(&StoredMessage) -> bool,
        limit: usize,
    ) -> Vec<StoredMessage> {
        let messages = ids.into_iter().filter_map(|id| self.messages.get(&id));
        messages.filter(|message| wanted(message)).take(limit).cloned().collect()
    }
}

impl Index {
    fn insert(&mut self, message: &StoredMessage) {
        let id = message.id;
        match message.state {
            MessageState::Queued => {
                self.queued.insert((message.appid.clone(), message.priority, message.due_at, id));
                self.expiring.insert((message.expires_at, id));
            }
            MessageState::Attempting => drop(self.attempting.insert(id)),
            _ if message.is_undecided() => drop(self.undecided.insert(id)),
            _ => {}
        }
        if let Some(grant) = message.grant.filter(|_| message.holds_grant()) {
            self.holders.insert(grant, id);
        }
    }

    fn remove(&mut self, message: &StoredMessage) {
        let id = message.id;
        self.queued.remove(&(message.appid.clone(), message.priority, message.due_at, id));
        self.expiring.remove(&(message.expires_at, id));
        self.attempting.remove(&id);
        self.undecided.remove(&id);
        if let Some(grant) = message.grant
            && self.holders.get(&grant) == Some(&id)
        {
            self.holders.remove(&grant);
        }
    }
}

impl Tables for Rows {
    fn worker(&mut self, id: WorkerId) -> LedgerResult<Option<StoredWorker>> {
        Ok(self.workers.get(&id).copied())
    }

    fn put_worker(&mut self, worker: StoredWorker) -> LedgerResult<()> {
        self.workers.put(worker.id, Some(worker));
        Ok(())
    }

    fn live_workers(&mut self) -> LedgerResult<Vec<StoredWorker>> {
        Ok(self.workers.values().filter(|worker| worker.gone_at.is_none()).copied().collect())
    }

    fn delete_gone_workers(&mut self, until: UnixMillis) -> LedgerResult<usize> {
        let gone = |worker: &&StoredWorker| worker.gone_at.is_some_and(|at| at <= until);
        let gone: Vec<_> = self.workers.values().filter(gone).map(|worker| worker.id).collect();
        for id in &gone {
            self.workers.put(*id, None);
        }
        Ok(gone.len())
    }

    fn app(&mut self, appid: &AppId) -> LedgerResult<StoredApp> {
        Ok(self.apps.get(appid).cloned().unwrap_or_default())
    }

    fn put_app(&mut self, appid: &AppId, app: StoredApp) -> LedgerResult<()> {
        self.apps.put(appid.clone(), Some(app));
        Ok(())
    }

    fn grant(&mut self, id: GrantId) -> LedgerResult<Option<StoredGrant>> {
        Ok(self.grants.get(&id).cloned())
    }

    fn newest_grant(&mut self, subject: &Subject) -> LedgerResult<Option<StoredGrant>> {
        let newest = self.grants_of.get(subject).and_then(|ids| ids.last());
        Ok(newest.and_then(|id| self.grants.get(id)).cloned())
    }

    fn put_grant(&mut self, grant: StoredGrant) -> LedgerResult<()> {
        let (id, subject) = (grant.id, grant.subject.clone());
        if self.grants.put(id, Some(grant)).is_none() {
            let mut order = self.grants_of.get(&subject).cloned().unwrap_or_default();
            order.push(id);
            self.grants_of.put(subject, Some(order));
        }
        Ok(())
    }

    fn doubt_grants(&mut self) -> LedgerResult<usize> {
        use GrantState::{Attempting, InDoubt, Open, Reserved};
        let unfinished = |grant: &&StoredGrant| matches!(grant.state, Open | Reserved | Attempting);
        let unfinished: Vec<_> = self.grants.values().filter(unfinished).cloned().collect();
        let number = unfinished.len();
        for grant in unfinished {
            self.grants.put(grant.id, Some(StoredGrant { state: InDoubt, ..grant }));
        }
        Ok(number)
    }

    fn spent_grants(
        &mut self,
        until: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<GrantId>> {
        let is_spent = |id: &GrantId| {
            self.grants
                .get(id)
                .is_some_and(|grant| matches!(grant.state, GrantState::Used | GrantState::Void))
        };
        let of_subject = self.grants_of.values().flat_map(|ids| ids.iter().take_while(|id| is_spent(id)));
        let mut spent: Vec<_> = of_subject.filter_map(|id| self.grants.get(id)).collect();
        spent.retain(|grant| grant.consented_at <= until && grant.callback_expires_at <= now);
        Ok(spent.into_iter().map(|grant| grant.id).take(limit).collect())
    }

    fn delete_grant(&mut self, id: GrantId) -> LedgerResult<()> {
        let Some(subject) = self.grants.put(id, None).map(|grant| grant.subject.clone()) else {
            return Ok(());
        };
        let mut order = self.grants_of.get(&subject).cloned().unwrap_or_default();
        order.retain(|other| *other != id);
        self.grants_of.put(subject, Some(order));
        let nonces = self.nonces.rows.iter().filter(|(_, grant)| **grant == id);
        for nonce in nonces.map(|(nonce, _)| *nonce).collect::<Vec<_>>() {
            self.nonces.put(nonce, None);
        }
        Ok(())
    }

    fn nonce(&mut self, nonce: &[u8; 16]) -> LedgerResult<Option<GrantId>> {
        Ok(self.nonces.get(nonce).copied())
    }

    fn put_nonce(&mut self, nonce: [u8; 16], grant: GrantId) -> LedgerResult<()> {
        self.nonces.put(nonce, Some(grant));
        Ok(())
    }

    fn message(&mut self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        Ok(self.messages.get(&id).cloned())
    }

    fn put_message(&mut self, message: StoredMessage) -> LedgerResult<()> {
        let id = message.id;
        if let Some(grant) = message.grant.filter(|_| message.holds_grant())
            && self.index.holders.get(&grant).is_some_and(|holder| *holder != id)
        {
            return Err(LedgerError::Inconsistent(format!("grant {grant}: another message holds it")));
        }
        self.replace(id, Some(message));
        Ok(())
    }

    fn holder(&mut self, grant: GrantId) -> LedgerResult<Option<MessageId>> {
        Ok(self.index.holders.get(&grant).copied())
    }

    fn due(&mut self, appid: &AppId, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        Ok(self.due_messages(appid, now, limit))
    }

    fn expired(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let until = (now, LAST_ID);
        Ok(self.some_messages(self.index.expiring.range(..=until).map(|(_, id)| *id), |_| true, limit))
    }

    fn attempts_of(&mut self, worker: WorkerId) -> LedgerResult<Vec<StoredMessage>> {
        let attempting = self.index.attempting.iter().copied();
        Ok(self.some_messages(attempting, |message| message.worker == Some(worker), usize::MAX))
    }

    fn attempts_of_gone_workers(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let is_alive = |id| self.workers.get(&id).is_some_and(|worker| worker.gone_at.is_none());
        let attempting = self.index.attempting.iter().copied();
        Ok(self.some_messages(attempting, |message| !message.worker.is_some_and(is_alive), limit))
    }

    fn decidable(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let decidable =
            |message: &StoredMessage| message.appid == *appid && message.decidable_at(now).is_none();
        Ok(self.some_messages(self.index.undecided.iter().copied(), decidable, limit))
    }

    fn undecided(
        &mut self,
        after: Option<&(AppId, MessageId)>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let undecided = self.index.undecided.iter().filter_map(|id| self.messages.get(id));
        let mut places: Vec<_> = undecided.map(|message| (message.appid.clone(), message.id)).collect();
        places.retain(|place| Some(place) > after);
        places.sort_unstable();
        Ok(self.some_messages(places.into_iter().map(|(_, id)| id), |_| true, limit))
    }

    fn unfinished(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let queued = self.index.queued.iter().map(|(.., id)| *id);
        Ok(self.some_messages(queued.chain(self.index.attempting.iter().copied()), |_| true, limit))
    }

    fn waiting_too_long(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let queued = self.index.queued.iter().map(|(.., id)| *id);
        Ok(self.some_messages(queued, |message| message.waits_too_long(now), limit))
    }

    fn ended(
        &mut self,
        state: MessageState,
        until: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let keyed: BTreeSet<_> = self.keys.values().map(|key| key.message).collect();
        let ended = |message: &StoredMessage| {
            let over = message.ended_at().is_some_and(|ended| ended <= until);
            message.state == state && over && !keyed.contains(&message.id)
        };
        Ok(self.some_messages(self.messages.rows.keys().copied(), ended, limit))
    }

    fn delete_message(&mut self, id: MessageId) -> LedgerResult<()> {
        self.replace(id, None);
        for key in self.history_keys(id).map(|(key, _)| *key).collect::<Vec<_>>() {
            self.events.put(key, None);
        }
        Ok(())
    }

    fn append_event(&mut self, event: StoredEvent) -> LedgerResult<()> {
        self.events.put((event.message, event.version), Some(event));
        Ok(())
    }

    fn append_audit(&mut self, entry: AuditEntry, at: UnixMillis, outcome: AuditOutcome) -> LedgerResult<()> {
        let seq = self.audit.rows.last_key_value().map_or(1, |(seq, _)| seq + 1);
        self.audit.put(seq, Some(StoredAudit { seq, at, entry, outcome }));
        Ok(())
    }

    fn last_event_at(&mut self) -> LedgerResult<Option<UnixMillis>> {
        Ok(self.events.values().map(|event| event.at).max())
    }

    fn key(&mut self, scope: &KeyScope) -> LedgerResult<Option<StoredKey>> {
        Ok(self.keys.get(scope).cloned())
    }

    fn put_key(&mut self, key: StoredKey) -> LedgerResult<()> {
        self.keys.put(key.scope.clone(), Some(key));
        Ok(())
    }

    fn keys_to_check(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredKey>> {
        Ok(self.keys.values().filter(|key| key.check_at <= now).take(limit).cloned().collect())
    }

    fn keys_of(
        &mut self,
        appid: &AppId,
        client: &str,
        after: Option<&IdempotencyKey>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredKey>> {
        let of_client = |key: &&StoredKey| key.scope.appid == *appid && key.scope.client == client;
        let keys = self.keys.values().filter(of_client).filter(|key| Some(&key.scope.key) > after);
        Ok(keys.take(limit).cloned().collect())
    }

    fn delete_key(&mut self, scope: &KeyScope) -> LedgerResult<()> {
        self.keys.put(scope.clone(), None);
        Ok(())
    }

    fn webhook_endpoints(&mut self) -> LedgerResult<Arc<[StoredEndpoint]>> {
        Ok(self.endpoints.get(&()).cloned().unwrap_or_default())
    }

    fn set_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) -> LedgerResult<()> {
        self.endpoints.put((), Some(endpoints.into()));
        Ok(())
    }

    fn delivery(&mut self, id: &DeliveryId) -> LedgerResult<Option<StoredDelivery>> {
        Ok(self.deliveries.get(id).cloned())
    }

    fn put_delivery(&mut self, delivery: StoredDelivery) -> LedgerResult<()> {
        self.deliveries.put(delivery.id.clone(), Some(delivery));
        Ok(())
    }

    fn delete_delivery(&mut self, id: &DeliveryId) -> LedgerResult<()> {
        self.deliveries.put(id.clone(), None);
        Ok(())
    }

    fn due_deliveries(
        &mut self,
        endpoint: &str,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let mut due: Vec<_> = self.deliveries_to(endpoint).filter(|delivery| delivery.is_due(now)).collect();
        due.sort_by_key(|delivery| delivery.due_at);
        Ok(due.into_iter().take(limit).cloned().collect())
    }

    fn deliveries_waiting_too_long(
        &mut self,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let waiting = self.deliveries.values().filter(|delivery| delivery.waits_too_long(now));
        Ok(waiting.take(limit).cloned().collect())
    }

    fn old_deliveries(&mut self, until: UnixMillis, limit: usize) -> LedgerResult<Vec<DeliveryId>> {
        let old = self.deliveries.values().filter(|delivery| delivery.created_at <= until);
        Ok(old.take(limit).map(|delivery| delivery.id.clone()).collect())
    }
}
