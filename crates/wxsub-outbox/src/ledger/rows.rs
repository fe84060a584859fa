//! The tables in memory, their indexes, and what it takes to undo a change.

mod webhooks;
mod written;

pub use written::{Write, Written, WrittenApp};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, OpenId};

use super::tables::{StoredWorker, Tables};
use super::{LedgerError, MessageQuery};
use crate::app::StoredApp;
use crate::audit::{AuditEntry, StoredAudit};
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{KeyScope, StoredKey};
use crate::message::{StoredEvent, StoredMessage};
use crate::state::{AuditOutcome, GrantState, MessageState, Priority};
use crate::webhook::{DeliveryId, StoredDelivery, StoredEndpoint};

/// Rows in memory: all rows of a [`MemoryLedger`](super::MemoryLedger), or those of a database that a batch names.
///
/// A ledger over a database loads rows with the methods `load_…`, applies changes, and writes [what changed](Self::take_written).
#[derive(Debug, Clone, Default)]
pub struct Rows {
    workers: BTreeMap<WorkerId, StoredWorker>,
    apps: BTreeMap<AppId, StoredApp>,
    grants: BTreeMap<GrantId, StoredGrant>,
    /// In the order in which they were recorded.
    grants_of: BTreeMap<Subject, Vec<GrantId>>,
    nonces: BTreeMap<[u8; 16], GrantId>,
    messages: BTreeMap<MessageId, StoredMessage>,
    events: BTreeMap<MessageId, Vec<StoredEvent>>,
    keys: BTreeMap<KeyScope, StoredKey>,
    endpoints: Arc<[StoredEndpoint]>,
    deliveries: BTreeMap<DeliveryId, StoredDelivery>,
    last_event_at: Option<UnixMillis>,
    audit: Vec<StoredAudit>,
    index: Index,
    undo: Vec<Undo>,
}

#[derive(Debug, Clone, Default)]
struct Index {
    queued: BTreeSet<(AppId, Priority, UnixMillis, MessageId)>,
    expiring: BTreeSet<(UnixMillis, MessageId)>,
    attempting: BTreeSet<MessageId>,
    undecided: BTreeSet<MessageId>,
    holders: BTreeMap<GrantId, MessageId>,
}

/// No id is greater.
const LAST_ID: MessageId = MessageId::from_bytes([0xFF; 16]);

/// What stood there before a write.
#[derive(Debug, Clone)]
enum Undo {
    Worker(WorkerId, Option<StoredWorker>),
    App(AppId, Option<StoredApp>),
    Grant(Box<StoredGrant>, Option<Box<StoredGrant>>),
    Nonce([u8; 16], Option<GrantId>),
    Message(MessageId, Option<Box<StoredMessage>>),
    Event(MessageId, Option<UnixMillis>),
    Events(MessageId, Vec<StoredEvent>),
    GrantOrder(Subject, Vec<GrantId>),
    Key(KeyScope, Option<StoredKey>),
    Audit,
    Endpoints(Arc<[StoredEndpoint]>),
    Delivery(DeliveryId, Option<Box<StoredDelivery>>),
}

/// Where a change began.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint(usize);

impl Rows {
    /// What is written from here on can be undone.
    #[must_use]
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.undo.len())
    }

    /// Undoes what was written since.
    pub fn undo_to(&mut self, savepoint: Savepoint) {
        for undo in self.undo.split_off(savepoint.0).into_iter().rev() {
            match undo {
                Undo::Worker(id, before) => restore(&mut self.workers, id, before),
                Undo::App(id, before) => restore(&mut self.apps, id, before),
                Undo::Grant(written, None) => {
                    self.grants.remove(&written.id);
                    if let Some(ids) = self.grants_of.get_mut(&written.subject) {
                        ids.retain(|id| *id != written.id);
                    }
                }
                Undo::Grant(_, Some(before)) => restore(&mut self.grants, before.id, Some(*before)),
                Undo::Nonce(nonce, before) => restore(&mut self.nonces, nonce, before),
                Undo::Message(id, before) => self.replace(id, before.map(|before| *before)),
                Undo::Event(id, before) => {
                    self.events.entry(id).or_default().pop();
                    self.last_event_at = before;
                }
                Undo::Events(id, before) => restore(&mut self.events, id, Some(before)),
                Undo::GrantOrder(subject, before) => restore(&mut self.grants_of, subject, Some(before)),
                Undo::Key(scope, before) => restore(&mut self.keys, scope, before),
                Undo::Audit => drop(self.audit.pop()),
                Undo::Endpoints(before) => self.endpoints = before,
                Undo::Delivery(id, before) => {
                    restore(&mut self.deliveries, id, before.map(|before| *before));
                }
            }
        }
    }

    /// Keeps what was written.
    pub(super) fn forget_undo(&mut self) {
        self.undo.clear();
    }

    /// Puts a message in place of the one with its id, and keeps the indexes right.
    fn replace(&mut self, id: MessageId, message: Option<StoredMessage>) {
        if let Some(before) = self.messages.remove(&id) {
            self.index.remove(&before);
        }
        if let Some(message) = message {
            self.index.insert(&message);
            self.messages.insert(id, message);
        }
    }

    pub(super) fn find_message(&self, id: MessageId) -> Option<StoredMessage> {
        self.messages.get(&id).cloned()
    }

    pub(super) fn find_app(&self, appid: &AppId) -> StoredApp {
        self.apps.get(appid).cloned().unwrap_or_default()
    }

    pub(super) fn history(&self, id: MessageId) -> Vec<StoredEvent> {
        self.events.get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn workers(&self) -> Vec<StoredWorker> {
        self.workers.values().copied().collect()
    }

    /// The newest lines of the audit, newest first.
    pub(super) fn audit(&self, before: Option<u64>, limit: usize) -> Vec<StoredAudit> {
        let lines = self.audit.iter().rev().filter(|line| before.is_none_or(|before| line.seq < before));
        lines.take(limit).cloned().collect()
    }

    pub(super) fn list(&self, query: &MessageQuery) -> Vec<StoredMessage> {
        let matching = self.messages.values().filter(|message| query.matches(message));
        match query.newest_first {
            true => matching.rev().take(query.limit).cloned().collect(),
            false => matching.take(query.limit).cloned().collect(),
        }
    }

    pub(super) fn grants_of(&self, appid: &AppId, openid: &OpenId) -> Vec<StoredGrant> {
        let of_user = |subject: &Subject| subject.appid == *appid && subject.openid == *openid;
        let ids = self.grants_of.iter().filter(|(subject, _)| of_user(subject)).flat_map(|(_, ids)| ids);
        let mut grants: Vec<_> = ids.filter_map(|id| self.grants.get(id)).cloned().collect();
        grants.sort_by_key(|grant| grant.consented_at);
        grants
    }

    /// Apps of which a message can be claimed.
    pub(super) fn claimable_apps(&self, now: UnixMillis) -> Vec<AppId> {
        let mut apps = Vec::new();
        let mut from = Bound::Unbounded;
        while let Some((appid, ..)) = self.index.queued.range((from, Bound::Unbounded)).next() {
            let pauses = self.apps.get(appid).map(|app| &app.pauses);
            let may_claim = pauses.is_none_or(|pauses| pauses.claimable(1, now) > 0);
            if may_claim && !self.due_messages(appid, now, 1).is_empty() {
                apps.push(appid.clone());
            }
            from = Bound::Excluded((appid.clone(), Priority::Low, UnixMillis::new(u64::MAX), LAST_ID));
        }
        apps
    }

    pub(super) fn first_due_at(&self, appid: &AppId) -> Option<UnixMillis> {
        let first = |priority: &Priority| {
            let from = (appid.clone(), *priority, UnixMillis::default(), MessageId::from_bytes([0; 16]));
            let to = (appid.clone(), *priority, UnixMillis::new(u64::MAX), LAST_ID);
            self.index.queued.range(from..=to).next().map(|(_, _, due_at, _)| *due_at)
        };
        Priority::ALL.iter().filter_map(first).min()
    }

    pub(super) fn undecided_apps(&self) -> Vec<AppId> {
        let undecided = self.index.undecided.iter().filter_map(|id| self.messages.get(id));
        let apps: BTreeSet<_> = undecided.map(|message| message.appid.clone()).collect();
        apps.into_iter().collect()
    }

    fn due_messages(&self, appid: &AppId, now: UnixMillis, limit: usize) -> Vec<StoredMessage> {
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

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
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
    fn worker(&mut self, id: WorkerId) -> Result<Option<StoredWorker>, LedgerError> {
        Ok(self.workers.get(&id).copied())
    }

    fn put_worker(&mut self, worker: StoredWorker) -> Result<(), LedgerError> {
        let before = self.workers.insert(worker.id, worker);
        self.undo.push(Undo::Worker(worker.id, before));
        Ok(())
    }

    fn live_workers(&mut self) -> Result<Vec<StoredWorker>, LedgerError> {
        Ok(self.workers.values().filter(|worker| worker.gone_at.is_none()).copied().collect())
    }

    fn delete_gone_workers(&mut self, until: UnixMillis) -> Result<usize, LedgerError> {
        let gone = |worker: &&StoredWorker| worker.gone_at.is_some_and(|at| at <= until);
        let gone: Vec<_> = self.workers.values().filter(gone).copied().collect();
        for worker in &gone {
            self.workers.remove(&worker.id);
            self.undo.push(Undo::Worker(worker.id, Some(*worker)));
        }
        Ok(gone.len())
    }

    fn app(&mut self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        Ok(self.find_app(appid))
    }

    fn put_app(&mut self, appid: &AppId, app: StoredApp) -> Result<(), LedgerError> {
        let before = self.apps.insert(appid.clone(), app);
        self.undo.push(Undo::App(appid.clone(), before));
        Ok(())
    }

    fn grant(&mut self, id: GrantId) -> Result<Option<StoredGrant>, LedgerError> {
        Ok(self.grants.get(&id).cloned())
    }

    fn newest_grant(&mut self, subject: &Subject) -> Result<Option<StoredGrant>, LedgerError> {
        let newest = self.grants_of.get(subject).and_then(|ids| ids.last());
        Ok(newest.and_then(|id| self.grants.get(id)).cloned())
    }

    fn put_grant(&mut self, grant: StoredGrant) -> Result<(), LedgerError> {
        let before = self.grants.insert(grant.id, grant.clone());
        if before.is_none() {
            self.grants_of.entry(grant.subject.clone()).or_default().push(grant.id);
        }
        self.undo.push(Undo::Grant(Box::new(grant), before.map(Box::new)));
        Ok(())
    }

    fn unfinished_grants(&mut self) -> Result<Vec<StoredGrant>, LedgerError> {
        use GrantState::{Attempting, Open, Reserved};
        let unfinished = |grant: &&StoredGrant| matches!(grant.state, Open | Reserved | Attempting);
        Ok(self.grants.values().filter(unfinished).cloned().collect())
    }

    fn spent_grants(
        &mut self,
        until: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<GrantId>, LedgerError> {
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

    fn delete_grant(&mut self, id: GrantId) -> Result<(), LedgerError> {
        let Some(grant) = self.grants.remove(&id) else { return Ok(()) };
        let order = self.grants_of.entry(grant.subject.clone()).or_default();
        self.undo.push(Undo::GrantOrder(grant.subject.clone(), order.clone()));
        order.retain(|other| *other != id);
        for (nonce, _) in self.nonces.extract_if(.., |_, of| *of == id) {
            self.undo.push(Undo::Nonce(nonce, Some(id)));
        }
        self.undo.push(Undo::Grant(Box::new(grant.clone()), Some(Box::new(grant))));
        Ok(())
    }

    fn nonce(&mut self, nonce: &[u8; 16]) -> Result<Option<GrantId>, LedgerError> {
        Ok(self.nonces.get(nonce).copied())
    }

    fn put_nonce(&mut self, nonce: [u8; 16], grant: GrantId) -> Result<(), LedgerError> {
        let before = self.nonces.insert(nonce, grant);
        self.undo.push(Undo::Nonce(nonce, before));
        Ok(())
    }

    fn message(&mut self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        Ok(self.find_message(id))
    }

    fn put_message(&mut self, message: StoredMessage) -> Result<(), LedgerError> {
        let id = message.id;
        if let Some(grant) = message.grant.filter(|_| message.holds_grant())
            && self.index.holders.get(&grant).is_some_and(|holder| *holder != id)
        {
            return Err(LedgerError::Inconsistent(format!("grant {grant}: another message holds it")));
        }
        let before = self.messages.get(&id).cloned().map(Box::new);
        self.replace(id, Some(message));
        self.undo.push(Undo::Message(id, before));
        Ok(())
    }

    fn holder(&mut self, grant: GrantId) -> Result<Option<MessageId>, LedgerError> {
        Ok(self.index.holders.get(&grant).copied())
    }

    fn due(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        Ok(self.due_messages(appid, now, limit))
    }

    fn expired(&mut self, now: UnixMillis, limit: usize) -> Result<Vec<StoredMessage>, LedgerError> {
        let until = (now, LAST_ID);
        Ok(self.some_messages(self.index.expiring.range(..=until).map(|(_, id)| *id), |_| true, limit))
    }

    fn attempts_of(&mut self, worker: WorkerId) -> Result<Vec<StoredMessage>, LedgerError> {
        let attempting = self.index.attempting.iter().copied();
        Ok(self.some_messages(attempting, |message| message.worker == Some(worker), usize::MAX))
    }

    fn attempts_of_gone_workers(&mut self, limit: usize) -> Result<Vec<StoredMessage>, LedgerError> {
        let is_alive = |id| self.workers.get(&id).is_some_and(|worker| worker.gone_at.is_none());
        let attempting = self.index.attempting.iter().copied();
        Ok(self.some_messages(attempting, |message| !message.worker.is_some_and(is_alive), limit))
    }

    fn decidable(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        let decidable = |message: &StoredMessage| message.appid == *appid && message.decidable_at() <= now;
        Ok(self.some_messages(self.index.undecided.iter().copied(), decidable, limit))
    }

    fn unfinished(&mut self) -> Result<Vec<StoredMessage>, LedgerError> {
        let unfinished = |message: &&StoredMessage| !message.state.is_final() || message.is_undecided();
        Ok(self.messages.values().filter(unfinished).cloned().collect())
    }

    fn ended(
        &mut self,
        state: MessageState,
        until: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        let keyed: BTreeSet<_> = self.keys.values().map(|key| key.message).collect();
        let ended = |message: &StoredMessage| {
            let over = message.ended_at().is_some_and(|ended| ended <= until);
            message.state == state && over && !keyed.contains(&message.id)
        };
        Ok(self.some_messages(self.messages.keys().copied(), ended, limit))
    }

    fn delete_message(&mut self, id: MessageId) -> Result<(), LedgerError> {
        if let Some(before) = self.find_message(id) {
            self.undo.push(Undo::Message(id, Some(Box::new(before))));
            self.replace(id, None);
        }
        if let Some(events) = self.events.remove(&id) {
            self.undo.push(Undo::Events(id, events));
        }
        Ok(())
    }

    fn append_event(&mut self, event: StoredEvent) -> Result<(), LedgerError> {
        self.undo.push(Undo::Event(event.message, self.last_event_at));
        self.last_event_at = self.last_event_at.max(Some(event.at));
        self.events.entry(event.message).or_default().push(event);
        Ok(())
    }

    fn append_audit(
        &mut self,
        entry: AuditEntry,
        at: UnixMillis,
        outcome: AuditOutcome,
    ) -> Result<(), LedgerError> {
        let seq = self.audit.last().map_or(1, |line| line.seq + 1);
        self.undo.push(Undo::Audit);
        self.audit.push(StoredAudit { seq, at, entry, outcome });
        Ok(())
    }

    fn last_event_at(&mut self) -> Result<Option<UnixMillis>, LedgerError> {
        Ok(self.last_event_at)
    }

    fn key(&mut self, scope: &KeyScope) -> Result<Option<StoredKey>, LedgerError> {
        Ok(self.keys.get(scope).cloned())
    }

    fn put_key(&mut self, key: StoredKey) -> Result<(), LedgerError> {
        let before = self.keys.insert(key.scope.clone(), key.clone());
        self.undo.push(Undo::Key(key.scope, before));
        Ok(())
    }

    fn keys_to_check(&mut self, now: UnixMillis, limit: usize) -> Result<Vec<StoredKey>, LedgerError> {
        Ok(self.keys.values().filter(|key| key.check_at <= now).take(limit).cloned().collect())
    }

    fn keys_of(&mut self, appid: &AppId, client: &str) -> Result<Vec<StoredKey>, LedgerError> {
        let of_client = |key: &&StoredKey| key.scope.appid == *appid && key.scope.client == client;
        Ok(self.keys.values().filter(of_client).cloned().collect())
    }

    fn delete_key(&mut self, scope: &KeyScope) -> Result<(), LedgerError> {
        if let Some(before) = self.keys.remove(scope) {
            self.undo.push(Undo::Key(scope.clone(), Some(before)));
        }
        Ok(())
    }

    fn webhook_endpoints(&mut self) -> Result<Arc<[StoredEndpoint]>, LedgerError> {
        Ok(Arc::clone(&self.endpoints))
    }

    fn set_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) -> Result<(), LedgerError> {
        let before = std::mem::replace(&mut self.endpoints, endpoints.into());
        self.undo.push(Undo::Endpoints(before));
        Ok(())
    }

    fn delivery(&mut self, id: &DeliveryId) -> Result<Option<StoredDelivery>, LedgerError> {
        Ok(self.deliveries.get(id).cloned())
    }

    fn put_delivery(&mut self, delivery: StoredDelivery) -> Result<(), LedgerError> {
        let id = delivery.id.clone();
        let before = self.deliveries.insert(id.clone(), delivery).map(Box::new);
        self.undo.push(Undo::Delivery(id, before));
        Ok(())
    }

    fn delete_delivery(&mut self, id: &DeliveryId) -> Result<(), LedgerError> {
        if let Some(before) = self.deliveries.remove(id) {
            self.undo.push(Undo::Delivery(id.clone(), Some(Box::new(before))));
        }
        Ok(())
    }

    fn due_deliveries(
        &mut self,
        endpoint: &str,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, LedgerError> {
        let mut due: Vec<_> = self.deliveries_to(endpoint).filter(|delivery| delivery.is_due(now)).collect();
        due.sort_by_key(|delivery| delivery.due_at);
        Ok(due.into_iter().take(limit).cloned().collect())
    }

    fn failed_deliveries(
        &mut self,
        endpoint: &str,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, LedgerError> {
        Ok(self.list_failed_deliveries(endpoint, limit))
    }

    fn old_deliveries(&mut self, until: UnixMillis, limit: usize) -> Result<Vec<DeliveryId>, LedgerError> {
        let old = self.deliveries.values().filter(|delivery| delivery.created_at <= until);
        Ok(old.take(limit).map(|delivery| delivery.id.clone()).collect())
    }
}
