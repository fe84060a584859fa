//! Rows of a database: loaded, changed, and written back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use super::{Rows, Undo};
use crate::app::{Pauses, StoredApp};
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{KeyScope, StoredKey};
use crate::ledger::tables::StoredWorker;
use crate::message::{StoredEvent, StoredMessage};
use crate::state::MessageState;
use crate::webhook::{DeliveryId, StoredDelivery, StoredEndpoint};

/// A row that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes all of it")]
pub struct Write<T> {
    /// As it was loaded; `None` if it is new.
    pub before: Option<T>,
    /// As it is now; `None` if it was deleted.
    pub after: Option<T>,
}

/// What was written of an app. The number of its messages changes by differences, because other processes count, too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes all of it")]
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
#[expect(clippy::exhaustive_structs, reason = "a ledger writes all of it")]
pub struct Written {
    /// Workers.
    pub workers: Vec<Write<StoredWorker>>,
    /// Apps.
    pub apps: Vec<WrittenApp>,
    /// Grants. New ones of a subject are in the order of their recording. The nonces of a deleted one go with it.
    pub grants: Vec<Write<StoredGrant>>,
    /// Nonces that are new, each with its grant.
    pub nonces: Vec<([u8; 16], GrantId)>,
    /// Messages. The history of a deleted one goes with it.
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
        self.workers.insert(worker.id, worker);
    }

    /// Loads an app, without the number of its messages.
    pub fn load_app(&mut self, appid: AppId, pauses: Pauses) {
        let counts = MessageState::ALL.iter().map(|state| (*state, LOADED_COUNT)).collect();
        self.apps.insert(appid, StoredApp { pauses, counts, undecided: LOADED_COUNT });
    }

    /// Loads a grant. Those of one subject are loaded in the order in which they were recorded.
    pub fn load_grant(&mut self, grant: StoredGrant) {
        let (id, subject) = (grant.id, grant.subject.clone());
        if self.grants.insert(id, grant).is_none() {
            self.grants_of.entry(subject).or_default().push(id);
        }
    }

    /// Loads the grant for which a callback was recorded.
    pub fn load_nonce(&mut self, nonce: [u8; 16], grant: GrantId) {
        self.nonces.insert(nonce, grant);
    }

    /// Loads a message, without its history.
    pub fn load_message(&mut self, message: StoredMessage) {
        self.replace(message.id, Some(message));
    }

    /// Loads a key.
    pub fn load_key(&mut self, key: StoredKey) {
        self.keys.insert(key.scope.clone(), key);
    }

    /// Loads the endpoints that get webhooks.
    pub fn load_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) {
        self.endpoints = endpoints.into();
    }

    /// Loads a delivery to an endpoint.
    pub fn load_delivery(&mut self, delivery: StoredDelivery) {
        self.deliveries.insert(delivery.id.clone(), delivery);
    }

    /// Loads when the last event happened.
    pub fn load_last_event_at(&mut self, at: Option<UnixMillis>) {
        self.last_event_at = at;
    }

    /// The messages that are loaded.
    pub fn loaded_messages(&self) -> impl Iterator<Item = &StoredMessage> {
        self.messages.values()
    }

    /// The apps whose pauses were changed since the rows were loaded.
    #[must_use]
    pub fn apps_with_new_pauses(&self) -> Vec<&AppId> {
        let default = StoredApp::default();
        let changed = self.undo.iter().filter_map(|undo| match undo {
            Undo::App(appid, before) => {
                let (before, now) = (before.as_ref().unwrap_or(&default), self.apps.get(appid));
                (before.pauses != now.unwrap_or(&default).pauses).then_some(appid)
            }
            _ => None,
        });
        changed.collect()
    }

    /// What was written since the rows were loaded. It cannot be undone any more.
    pub fn take_written(&mut self) -> Written {
        let mut written = Written::default();
        let mut seen = Seen::default();
        let audited = self.undo.iter().filter(|undo| matches!(undo, Undo::Audit)).count();
        written.audit = self.audit.iter().skip(self.audit.len() - audited).cloned().collect();
        for undo in std::mem::take(&mut self.undo) {
            match undo {
                Undo::Worker(id, before) if seen.workers.insert(id) => {
                    written.workers.push(Write { before, after: self.workers.get(&id).copied() });
                }
                Undo::App(appid, before) if seen.apps.insert(appid.clone()) => {
                    let after = self.apps.get(&appid).cloned().unwrap_or_default();
                    written.apps.extend(WrittenApp::new(appid, &before.unwrap_or_default(), after));
                }
                Undo::Grant(grant, before) if seen.grants.insert(grant.id) => {
                    let after = self.grants.get(&grant.id).cloned();
                    written.grants.push(Write { before: before.map(|before| *before), after });
                }
                Undo::Nonce(nonce, None) => {
                    written.nonces.extend(self.nonces.get(&nonce).map(|grant| (nonce, *grant)));
                }
                Undo::Message(id, before) if seen.messages.insert(id) => {
                    let after = self.messages.get(&id).cloned();
                    written.messages.push(Write { before: before.map(|before| *before), after });
                }
                Undo::Event(id, _) if seen.events.insert(id) => {
                    written.events.extend(self.events.get(&id).into_iter().flatten().cloned());
                }
                Undo::Key(scope, before) if seen.keys.insert(scope.clone()) => {
                    let after = self.keys.get(&scope).cloned();
                    written.keys.push(Write { before, after });
                }
                Undo::Endpoints(_) => written.endpoints = Some(Arc::clone(&self.endpoints)),
                Undo::Delivery(id, before) if seen.deliveries.insert(id.clone()) => {
                    let after = self.deliveries.get(&id).cloned();
                    written.deliveries.push(Write { before: before.map(|before| *before), after });
                }
                _ => {}
            }
        }
        written
    }
}

/// The rows whose first write is known.
#[derive(Default)]
struct Seen {
    workers: BTreeSet<WorkerId>,
    apps: BTreeSet<AppId>,
    grants: BTreeSet<GrantId>,
    messages: BTreeSet<MessageId>,
    events: BTreeSet<MessageId>,
    keys: BTreeSet<KeyScope>,
    deliveries: BTreeSet<DeliveryId>,
}

impl WrittenApp {
    /// `None` if nothing changed.
    fn new(appid: AppId, before: &StoredApp, after: StoredApp) -> Option<Self> {
        let difference =
            |before: u64, after: u64| i64::try_from(i128::from(after) - i128::from(before)).unwrap_or(0);
        let count = |app: &StoredApp, state| app.counts.get(&state).copied().unwrap_or_default();
        let counts = MessageState::ALL
            .iter()
            .map(|state| (*state, difference(count(before, *state), count(&after, *state))));
        let counts: BTreeMap<_, _> = counts.filter(|(_, difference)| *difference != 0).collect();
        let undecided = difference(before.undecided, after.undecided);
        let pauses = (before.pauses != after.pauses).then_some(after.pauses);
        let changed = pauses.is_some() || !counts.is_empty() || undecided != 0;
        changed.then_some(Self { appid, pauses, counts, undecided })
    }
}
