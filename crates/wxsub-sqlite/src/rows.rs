//! Rows in memory: those that a transaction changes are written once, at its end, and those of running attempts and of some
//! queued messages are not read again. No other process writes, so they hold beyond the transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, params};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::idempotency::{KeyScope, StoredKey};
use wxsub_outbox::ledger::{ToColumns, millis};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::{GrantState, MessageState, Priority};
use wxsub_outbox::webhook::StoredEndpoint;
use wxsub_proto::AppId;

use crate::columns;
use crate::sql;

/// How many events wait at most to be written.
const MAX_EVENTS: usize = 4096;

/// How many queued messages are kept in memory: about 1 KiB each.
const MAX_QUEUED: usize = 4096;

/// Rows in memory.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    messages: HashMap<MessageId, StoredMessage>,
    /// No message has a greater id; `None` if that was not read yet.
    newest: Option<MessageId>,
    /// Messages that are not written yet, and whether they are new.
    changed_messages: BTreeMap<MessageId, bool>,
    grants: HashMap<GrantId, StoredGrant>,
    changed_grants: BTreeSet<GrantId>,
    /// None of these is written yet.
    events: Vec<StoredEvent>,
    keys: BTreeMap<KeyScope, StoredKey>,
    /// The endpoints that get webhooks, if they were read. Every change of them is written at once.
    pub(crate) endpoints: Option<Arc<[StoredEndpoint]>>,
}

impl Rows {
    pub(crate) fn message(&self, id: MessageId) -> Option<&StoredMessage> {
        self.messages.get(&id)
    }

    pub(crate) fn put_message(&mut self, message: StoredMessage) {
        let is_new = message.version == 1;
        self.changed_messages.entry(message.id).or_insert(is_new);
        self.newest = self.newest.map(|newest| newest.max(message.id));
        self.messages.insert(message.id, message);
    }

    /// The greatest id of a message, if it was read before.
    pub(crate) fn newest(&self) -> Option<MessageId> {
        self.newest
    }

    /// This is the greatest id in the database.
    pub(crate) fn read_newest(&mut self, stored: MessageId) -> MessageId {
        let changed = self.changed_messages.keys().next_back();
        *self.newest.insert(changed.map_or(stored, |changed| stored.max(*changed)))
    }

    pub(crate) fn forget_message(&mut self, id: MessageId) {
        self.messages.remove(&id);
    }

    /// Whether the database has another state of this message, or none.
    pub(crate) fn is_changed(&self, id: MessageId) -> bool {
        self.changed_messages.contains_key(&id)
    }

    /// Of the messages that are not written yet: the due ones of an app with this priority, in the order of claims.
    pub(crate) fn due(
        &self,
        appid: &AppId,
        priority: Priority,
        now: UnixMillis,
        limit: usize,
    ) -> Vec<StoredMessage> {
        let changed = self.changed_messages.keys().filter_map(|id| self.messages.get(id));
        let is_wanted = |message: &&StoredMessage| {
            message.is_due(now) && message.priority == priority && message.appid == *appid
        };
        let mut due: Vec<_> = changed.filter(is_wanted).collect();
        due.sort_by_key(|message| (message.due_at, message.id));
        due.into_iter().take(limit).cloned().collect()
    }

    pub(crate) fn grant(&self, id: GrantId) -> Option<&StoredGrant> {
        self.grants.get(&id)
    }

    /// Keeps a grant that was read, and gives it as it is now.
    pub(crate) fn read_grant(&mut self, grant: StoredGrant) -> StoredGrant {
        self.grants.entry(grant.id).or_insert(grant).clone()
    }

    /// The database changes grants. They must be written.
    pub(crate) fn forget_grants(&mut self) {
        self.grants.clear();
    }

    /// Changes a grant, if it is here.
    pub(crate) fn update_grant(&mut self, grant: &StoredGrant) -> bool {
        let Some(known) = self.grants.get_mut(&grant.id) else { return false };
        known.clone_from(grant);
        self.changed_grants.insert(grant.id);
        true
    }

    pub(crate) fn key(&self, scope: &KeyScope) -> Option<&StoredKey> {
        self.keys.get(scope)
    }

    pub(crate) fn put_key(&mut self, key: StoredKey) {
        self.keys.insert(key.scope.clone(), key);
    }

    /// Whether they should be written before the end of the transaction.
    pub(crate) fn append_event(&mut self, event: StoredEvent) -> bool {
        self.events.push(event);
        self.events.len() >= MAX_EVENTS
    }

    /// Writes what changed, each kind in the order of the ids, and keeps the rows that are needed next.
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_messages(connection)?;
        self.write_grants(connection)?;
        if !self.events.is_empty() {
            self.events.sort_by_key(|event| (event.message, event.version));
            let mut append = connection.prepare_cached(sql::APPEND_EVENT)?;
            for event in self.events.drain(..) {
                append.execute(columns::params(event.to_columns()))?;
            }
        }
        if !self.keys.is_empty() {
            let mut put = connection.prepare_cached(sql::PUT_KEY)?;
            for key in std::mem::take(&mut self.keys).into_values() {
                put.execute(columns::params(key.to_columns()))?;
            }
        }
        let (mut messages, mut grants) = (0..MAX_QUEUED, 0..MAX_QUEUED);
        self.messages.retain(|_, message| match message.state {
            MessageState::Attempting => true,
            MessageState::Queued => messages.next().is_some(),
            _ => false,
        });
        self.grants.retain(|_, grant| match grant.state {
            GrantState::Attempting => true,
            GrantState::Reserved => grants.next().is_some(),
            _ => false,
        });
        Ok(())
    }

    fn write_messages(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.changed_messages.is_empty() {
            return Ok(());
        }
        let mut insert = connection.prepare_cached(sql::INSERT_MESSAGE)?;
        let mut update = connection.prepare_cached(sql::UPDATE_MESSAGE)?;
        let mut insert_body = connection.prepare_cached(sql::INSERT_BODY)?;
        let mut delete_body = connection.prepare_cached(sql::DELETE_BODY)?;
        let (new, changed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.changed_messages).into_iter().partition(|(_, is_new)| *is_new);
        // The changed ones first: a new message may take the grant that one of them gives up.
        for (id, is_new) in changed.into_iter().chain(new) {
            let Some(message) = self.messages.get(&id) else { continue };
            let values = message.to_columns().into_iter();
            if is_new {
                insert.execute(columns::params(values.chain(message.fixed_columns())))?;
            } else {
                update.execute(columns::params(values))?;
            }
            // A body never changes; it is only deleted.
            match (&message.body, is_new) {
                (Some(body), true) => {
                    insert_body.execute(params![id.as_bytes(), String::from_utf8_lossy(&body.to_json())])?;
                }
                (None, false) => {
                    delete_body.execute([id.as_bytes()])?;
                }
                (Some(_), false) | (None, true) => {}
            }
        }
        Ok(())
    }

    /// Writes the grants that changed.
    pub(crate) fn write_grants(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.changed_grants.is_empty() {
            return Ok(());
        }
        let mut update = connection.prepare_cached(sql::UPDATE_GRANT)?;
        for id in std::mem::take(&mut self.changed_grants) {
            if let Some(grant) = self.grants.get(&id) {
                let expires = millis(grant.callback_expires_at);
                update.execute(params![id.as_bytes(), grant.state.as_str(), expires])?;
            }
        }
        Ok(())
    }
}
