//! Rows of a database: loaded, changed, and written back.

use std::collections::BTreeMap;
use std::sync::Arc;

use wxsub_proto::AppId;

use super::Rows;
use super::table::{Table, Write};
use crate::app::{Pauses, StoredApp};
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::GrantId;
use crate::idempotency::StoredKey;
use crate::ledger::tables::StoredWorker;
use crate::message::{StoredEvent, StoredMessage};
use crate::state::MessageState;
use crate::webhook::{StoredDelivery, StoredEndpoint};

/// What was written of an app. The number of its messages changes by differences, because other processes count, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenApp {
    /// The app.
    pub appid: AppId,
    /// Why it waits, if that changed.
    pub pauses: Option<Pauses>,
    /// By how much the number of messages in each state changed. No state whose number did not change.
    pub counts: BTreeMap<MessageState, i64>,
    /// By how much the number of undecided messages changed.
    pub undecided: i64,
}

/// What changes wrote to [`Rows`]: each row once, in the order of its first write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Workers.
    pub workers: Vec<Write<StoredWorker>>,
    /// Apps.
    pub apps: Vec<WrittenApp>,
    /// Grants. New ones of a subject are in the order of their recording. The nonces of a deleted one are deleted, too.
    pub grants: Vec<Write<StoredGrant>>,
    /// Nonces that are new, each with its grant.
    pub nonces: Vec<([u8; 16], GrantId)>,
    /// Messages. The history of a deleted one is deleted, too.
    pub messages: Vec<Write<StoredMessage>>,
    /// What happened to messages.
    pub events: Vec<StoredEvent>,
    /// Lines of the audit. The ledger numbers them.
    pub audit: Vec<StoredAudit>,
    /// Idempotency keys.
    pub keys: Vec<Write<StoredKey>>,
    /// All endpoints that get webhooks, if they changed.
    pub endpoints: Option<Arc<[StoredEndpoint]>>,
    /// Deliveries to endpoints.
    pub deliveries: Vec<Write<StoredDelivery>>,
}

/// What loaded apps seem to have of messages in each state, so that no difference makes it negative.
const LOADED_COUNT: u64 = 1 << 48;

impl Rows {
    /// Loads a worker.
    pub fn load_worker(&mut self, worker: StoredWorker) {
        self.workers.rows.insert(worker.id, worker);
    }

    /// Loads an app, without the number of its messages.
    pub fn load_app(&mut self, appid: AppId, pauses: Pauses) {
        let counts = MessageState::ALL.iter().map(|state| (*state, LOADED_COUNT)).collect();
        self.apps.rows.insert(appid, StoredApp { pauses, counts, undecided: LOADED_COUNT });
    }

    /// Loads a grant. Those of one subject are loaded in the order in which they were recorded.
    pub fn load_grant(&mut self, grant: StoredGrant) {
        let (id, subject) = (grant.id, grant.subject.clone());
        if self.grants.rows.insert(id, grant).is_none() {
            self.grants_of.rows.entry(subject).or_default().push(id);
        }
    }

    /// Loads the grant for which a callback was recorded.
    pub fn load_nonce(&mut self, nonce: [u8; 16], grant: GrantId) {
        self.nonces.rows.insert(nonce, grant);
    }

    /// Loads a message, without its history.
    pub fn load_message(&mut self, message: StoredMessage) {
        if let Some(before) = self.messages.rows.get(&message.id) {
            self.index.remove(before);
        }
        self.index.insert(&message);
        self.messages.rows.insert(message.id, message);
    }

    /// Loads a key.
    pub fn load_key(&mut self, key: StoredKey) {
        self.keys.rows.insert(key.scope.clone(), key);
    }

    /// Loads the endpoints that get webhooks.
    pub fn load_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) {
        self.endpoints.rows.insert((), endpoints.into());
    }

    /// Loads a delivery to an endpoint.
    pub fn load_delivery(&mut self, delivery: StoredDelivery) {
        self.deliveries.rows.insert(delivery.id.clone(), delivery);
    }

    /// The messages that are loaded.
    pub fn loaded_messages(&self) -> impl Iterator<Item = &StoredMessage> {
        self.messages.values()
    }

    /// The apps whose pauses were changed since the rows were loaded.
    #[must_use]
    pub fn apps_with_new_pauses(&self) -> Vec<&AppId> {
        let default = StoredApp::default();
        let changed = self.apps.undo.iter().filter(|(appid, before)| {
            let (before, now) = (before.as_ref().unwrap_or(&default), self.apps.get(appid));
            before.pauses != now.unwrap_or(&default).pauses
        });
        changed.map(|(appid, _)| appid).collect()
    }

    /// What was written since the rows were loaded. It cannot be undone any more.
    pub fn take_written(&mut self) -> Written {
        // The database keeps this order by itself.
        self.grants_of.undo.clear();
        let apps = self.apps.take_written().filter_map(|(appid, write)| WrittenApp::new(appid, write));
        let is_new = |(nonce, write): ([u8; 16], Write<_>)| match write {
            Write { before: None, after } => after.map(|grant| (nonce, grant)),
            Write { before: Some(_), .. } => None,
        };
        Written {
            workers: writes(&mut self.workers).collect(),
            apps: apps.collect(),
            grants: writes(&mut self.grants).collect(),
            nonces: self.nonces.take_written().filter_map(is_new).collect(),
            messages: writes(&mut self.messages).collect(),
            events: writes(&mut self.events).filter_map(|write| write.after).collect(),
            audit: writes(&mut self.audit).filter_map(|write| write.after).collect(),
            keys: writes(&mut self.keys).collect(),
            endpoints: writes(&mut self.endpoints).find_map(|write| write.after),
            deliveries: writes(&mut self.deliveries).collect(),
        }
    }
}

fn writes<K: Ord + Clone, V: Clone>(table: &mut Table<K, V>) -> impl Iterator<Item = Write<V>> {
    table.take_written().map(|(_, write)| write)
}

impl WrittenApp {
    /// `None` if nothing changed.
    fn new(appid: AppId, write: Write<StoredApp>) -> Option<Self> {
        let (before, after) = (write.before.unwrap_or_default(), write.after.unwrap_or_default());
        let difference = |before: u64, after: u64| after.checked_signed_diff(before).unwrap_or(0);
        let count = |app: &StoredApp, state| app.counts.get(&state).copied().unwrap_or_default();
        let counts = MessageState::ALL
            .iter()
            .map(|state| (*state, difference(count(&before, *state), count(&after, *state))));
        let counts: BTreeMap<_, _> = counts.filter(|(_, difference)| *difference != 0).collect();
        let undecided = difference(before.undecided, after.undecided);
        let pauses = (before.pauses != after.pauses).then_some(after.pauses);
        let changed = pauses.is_some() || !counts.is_empty() || undecided != 0;
        changed.then_some(Self { appid, pauses, counts, undecided })
    }
}
