//! The tables within one open transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, params};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::audit::{AuditEntry, StoredAudit};
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{IdempotencyKey, KeyScope, StoredKey};
use wxsub_outbox::ledger::{FromColumns, StoredWorker, Tables, ToColumns, at_most, delaying, millis};
use wxsub_outbox::message::{
    DECISION_DELAY, MAX_RETRY_DELAY, RESTORED_DECISION_DELAY, StoredEvent, StoredMessage,
};
use wxsub_outbox::state::{AuditOutcome, MessageState, Priority};
use wxsub_outbox::webhook::{DeliveryId, MAX_DELIVERY_DELAY, StoredDelivery, StoredEndpoint};
use wxsub_outbox::{LedgerError, LedgerResult};
use wxsub_proto::AppId;

use crate::columns;
use crate::error::failed;
use crate::rows::Rows;
use crate::sql;

/// The tables of an open transaction. What changes is written at its end, or before a query that must see it.
pub(crate) struct OpenTables<'a> {
    connection: &'a Connection,
    rows: &'a mut Rows,
    apps: BTreeMap<AppId, App>,
}

#[derive(Clone)]
struct App {
    /// As the database has it; `None` if it is new.
    stored: Option<StoredApp>,
    now: StoredApp,
}

impl<'a> OpenTables<'a> {
    /// The rows in memory hold until a transaction fails.
    pub(crate) fn new(connection: &'a Connection, rows: &'a mut Rows) -> Self {
        Self { connection, rows, apps: BTreeMap::new() }
    }

    pub(crate) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// Does this in a savepoint: if it fails, what it wrote is undone.
    pub(crate) fn separately<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> LedgerResult<T>,
    ) -> LedgerResult<T> {
        self.execute("SAVEPOINT change", [])?;
        let apps = self.apps.clone();
        let done = work(self).and_then(|done| self.write_rows().map(|()| done));
        if done.is_err() {
            *self.rows = Rows::default();
            self.apps = apps;
            self.execute("ROLLBACK TO change", [])?;
        }
        self.execute("RELEASE change", [])?;
        done
    }

    /// Writes what changed.
    pub(crate) fn finish(&mut self) -> LedgerResult<()> {
        self.write_rows()?;
        for (appid, app) in &self.apps {
            if app.stored.as_ref() != Some(&app.now) {
                write_app(self.connection, appid, app).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn write_rows(&mut self) -> LedgerResult<()> {
        self.rows.write(self.connection).map_err(failed)
    }

    fn execute(&self, sql: &str, params: impl Params) -> LedgerResult<usize> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(failed)
    }

    fn one<T: FromColumns>(&self, sql: &str, params: impl Params) -> LedgerResult<Option<T>> {
        let statement = self.connection.prepare_cached(sql);
        let one = statement.and_then(|mut statement| statement.query_row(params, columns::read).optional());
        one.map_err(failed)
    }

    fn all<T: FromColumns>(&self, sql: &str, params: impl Params) -> LedgerResult<Vec<T>> {
        columns::all(self.connection, sql, params).map_err(failed)
    }

    fn newest_message(&mut self) -> LedgerResult<MessageId> {
        if let Some(newest) = self.rows.newest() {
            return Ok(newest);
        }
        let first = MessageId::from_bytes([0; 16]);
        let stored = self.one(sql::NEWEST_MESSAGE, [])?.unwrap_or(first);
        Ok(self.rows.read_newest(stored))
    }

    fn open_app(&mut self, appid: &AppId) -> LedgerResult<&mut App> {
        // Most changes are about an app that is open: no copy of its name is made then.
        if !self.apps.contains_key(appid) {
            let stored = read_app(self.connection, appid).map_err(failed)?;
            let now = stored.clone().unwrap_or_default();
            self.apps.insert(appid.clone(), App { stored, now });
        }
        let missing = || LedgerError::Inconsistent(format!("app {appid}: it is not open"));
        self.apps.get_mut(appid).ok_or_else(missing)
    }

    /// The due messages of an app with this priority as the database has them, in the order of claims.
    fn stored_due(
        &self,
        appid: &AppId,
        priority: Priority,
        now: UnixMillis,
        limit: usize,
    ) -> rusqlite::Result<Vec<StoredMessage>> {
        let mut statement = self.connection.prepare_cached(sql::DUE)?;
        let mut rows = statement.query(params![appid.as_str(), priority.as_str(), millis(now)])?;
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(row) = rows.next()?
        {
            let id = MessageId::from_bytes(row.get(0)?);
            if self.rows.is_changed(id) {
                continue;
            }
            due.push(match self.rows.message(id) {
                Some(message) => message.clone(),
                None => {
                    self.connection.prepare_cached(sql::MESSAGE)?.query_row([id.as_bytes()], columns::read)?
                }
            });
        }
        Ok(due)
    }

    fn messages(&mut self, sql: &str, params: impl Params) -> LedgerResult<Vec<StoredMessage>> {
        self.write_rows()?;
        self.all(sql, params)
    }
}

/// What is stored of an app; `None` if it is new.
pub(crate) fn read_app(connection: &Connection, appid: &AppId) -> rusqlite::Result<Option<StoredApp>> {
    let mut statement = connection.prepare_cached(sql::APP)?;
    let stored = statement.query_row([appid.as_str()], columns::read).optional()?;
    let Some((pauses, undecided)) = stored else { return Ok(None) };
    let counts: Vec<(MessageState, u64)> = columns::all(connection, sql::COUNTS, [appid.as_str()])?;
    Ok(Some(StoredApp { pauses, counts: counts.into_iter().collect(), undecided }))
}

fn write_app(connection: &Connection, appid: &AppId, app: &App) -> rusqlite::Result<()> {
    let stored = app.stored.as_ref();
    if stored.is_none_or(|stored| stored.pauses != app.now.pauses || stored.undecided != app.now.undecided) {
        let mut statement = connection.prepare_cached(sql::PUT_APP)?;
        let undecided = i64::try_from(app.now.undecided).unwrap_or(i64::MAX);
        let values = app.now.pauses.to_columns().into_iter();
        statement.execute(columns::params(values.chain([undecided.into(), appid.as_str().into()])))?;
    }
    for state in MessageState::ALL {
        let count = |app: &StoredApp| app.counts.get(state).copied();
        if stored.and_then(count) == count(&app.now) {
            continue;
        }
        match count(&app.now) {
            Some(messages) => connection.prepare_cached(sql::PUT_COUNT)?.execute(params![
                appid.as_str(),
                state.as_str(),
                messages
            ])?,
            None => connection
                .prepare_cached(sql::DELETE_COUNT)?
                .execute(params![appid.as_str(), state.as_str()])?,
        };
    }
    Ok(())
}

impl Tables for OpenTables<'_> {
    fn worker(&mut self, id: WorkerId) -> LedgerResult<Option<StoredWorker>> {
        self.one(sql::WORKER, [id.as_bytes()])
    }

    fn put_worker(&mut self, worker: StoredWorker) -> LedgerResult<()> {
        self.execute(sql::PUT_WORKER, columns::params(worker.to_columns())).map(drop)
    }

    fn live_workers(&mut self) -> LedgerResult<Vec<StoredWorker>> {
        self.all(sql::LIVE_WORKERS, [])
    }

    fn delete_gone_workers(&mut self, until: UnixMillis) -> LedgerResult<usize> {
        self.execute(sql::DELETE_GONE_WORKERS, [millis(until)])
    }

    fn app(&mut self, appid: &AppId) -> LedgerResult<StoredApp> {
        self.open_app(appid).map(|app| app.now.clone())
    }

    fn put_app(&mut self, appid: &AppId, app: StoredApp) -> LedgerResult<()> {
        self.open_app(appid).map(|known| known.now = app)
    }

    fn grant(&mut self, id: GrantId) -> LedgerResult<Option<StoredGrant>> {
        if let Some(grant) = self.rows.grant(id) {
            return Ok(Some(grant.clone()));
        }
        let stored = self.one(sql::GRANT, [id.as_bytes()])?;
        Ok(stored.map(|grant| self.rows.read_grant(grant)))
    }

    fn newest_grant(&mut self, subject: &Subject) -> LedgerResult<Option<StoredGrant>> {
        let stored = self.one(sql::NEWEST_GRANT, columns::params(subject.to_columns()))?;
        Ok(stored.map(|grant| self.rows.read_grant(grant)))
    }

    /// A new grant is written at once, so that it is found as the newest one.
    fn put_grant(&mut self, grant: StoredGrant) -> LedgerResult<()> {
        if self.rows.update_grant(&grant) {
            return Ok(());
        }
        // An older one of its subject may not be open any more.
        self.rows.write_grants(self.connection).map_err(failed)?;
        let (state, expires) = (grant.state.as_str(), millis(grant.callback_expires_at));
        if self.execute(sql::UPDATE_GRANT, params![grant.id.as_bytes(), state, expires])? > 0 {
            return Ok(());
        }
        self.execute(sql::INSERT_GRANT, columns::params(grant.to_columns())).map(drop)
    }

    fn doubt_grants(&mut self) -> LedgerResult<usize> {
        self.write_rows()?;
        self.rows.forget_grants();
        self.execute(sql::DOUBT_GRANTS, [])
    }

    fn spent_grants(
        &mut self,
        until: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<GrantId>> {
        self.write_rows()?;
        let values = params![millis(until), millis(now), at_most(limit)];
        self.all(sql::SPENT_GRANTS, values)
    }

    fn delete_grant(&mut self, id: GrantId) -> LedgerResult<()> {
        self.write_rows()?;
        self.execute(sql::DELETE_GRANT, [id.as_bytes()]).map(drop)
    }

    fn nonce(&mut self, nonce: &[u8; 16]) -> LedgerResult<Option<GrantId>> {
        self.one(sql::NONCE, [nonce])
    }

    fn put_nonce(&mut self, nonce: [u8; 16], grant: GrantId) -> LedgerResult<()> {
        self.execute(sql::PUT_NONCE, [&nonce, grant.as_bytes()]).map(drop)
    }

    fn message(&mut self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        if let Some(message) = self.rows.message(id) {
            return Ok(Some(message.clone()));
        }
        // The id of a new message is greater than all before, as far as one process made them.
        if id > self.newest_message()? {
            return Ok(None);
        }
        self.one(sql::MESSAGE, [id.as_bytes()])
    }

    /// That another message holds its grant shows when it is written.
    fn put_message(&mut self, message: StoredMessage) -> LedgerResult<()> {
        self.rows.put_message(message);
        Ok(())
    }

    fn holder(&mut self, grant: GrantId) -> LedgerResult<Option<MessageId>> {
        self.write_rows()?;
        self.one(sql::HOLDER, [grant.as_bytes()])
    }

    fn due(&mut self, appid: &AppId, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let mut due = Vec::new();
        for priority in Priority::ALL {
            let rest = limit - due.len();
            if rest == 0 {
                break;
            }
            let mut found = self.stored_due(appid, *priority, now, rest).map_err(failed)?;
            found.extend(self.rows.due(appid, *priority, now, rest));
            found.sort_by_key(|message| (message.due_at, message.id));
            due.extend(found.into_iter().take(rest));
        }
        Ok(due)
    }

    fn expired(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        self.messages(sql::EXPIRED, params![millis(now), at_most(limit)])
    }

    fn attempts_of(&mut self, worker: WorkerId) -> LedgerResult<Vec<StoredMessage>> {
        self.messages(sql::ATTEMPTS_OF, [worker.as_bytes()])
    }

    fn attempts_of_gone_workers(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        self.messages(sql::ATTEMPTS_OF_GONE_WORKERS, [at_most(limit)])
    }

    fn decidable(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let ([restored, restored_to], [attempted, attempted_to]) =
            (delaying(RESTORED_DECISION_DELAY, now), delaying(DECISION_DELAY, now));
        let appid = appid.as_str();
        let values = params![appid, restored, restored_to, attempted, attempted_to, at_most(limit)];
        self.messages(sql::DECIDABLE, values)
    }

    fn undecided(
        &mut self,
        after: Option<&(AppId, MessageId)>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let (appid, id) = after.map_or(("", &[][..]), |(appid, id)| (appid.as_str(), id.as_bytes()));
        self.messages(sql::UNDECIDED, params![appid, id, at_most(limit)])
    }

    fn unfinished(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        let mut unfinished = self.messages(sql::ATTEMPTING, [at_most(limit)])?;
        unfinished.extend(self.messages(sql::QUEUED, [at_most(limit - unfinished.len())])?);
        Ok(unfinished)
    }

    fn waiting_too_long(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        self.messages(sql::WAITING_TOO_LONG, [millis(now + MAX_RETRY_DELAY), at_most(limit)])
    }

    fn ended(
        &mut self,
        state: MessageState,
        until: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        match state {
            MessageState::Queued | MessageState::Attempting => Ok(Vec::new()),
            MessageState::MaybeSent => self.messages(sql::DECIDED, params![millis(until), at_most(limit)]),
            MessageState::Sent | MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => {
                self.messages(sql::SETTLED, params![state.as_str(), millis(until), at_most(limit)])
            }
        }
    }

    fn delete_message(&mut self, id: MessageId) -> LedgerResult<()> {
        self.write_rows()?;
        self.rows.forget_message(id);
        self.execute(sql::DELETE_MESSAGE, [id.as_bytes()]).map(drop)
    }

    fn append_event(&mut self, event: StoredEvent) -> LedgerResult<()> {
        if self.rows.append_event(event) { self.write_rows() } else { Ok(()) }
    }

    fn append_audit(&mut self, entry: AuditEntry, at: UnixMillis, outcome: AuditOutcome) -> LedgerResult<()> {
        let line = StoredAudit { seq: 0, at, entry, outcome };
        self.execute(sql::APPEND_AUDIT, columns::params(line.to_columns())).map(drop)
    }

    fn last_event_at(&mut self) -> LedgerResult<Option<UnixMillis>> {
        self.write_rows()?;
        Ok(self.one(sql::LAST_EVENT, [])?.flatten())
    }

    fn key(&mut self, scope: &KeyScope) -> LedgerResult<Option<StoredKey>> {
        if let Some(key) = self.rows.key(scope) {
            return Ok(Some(key.clone()));
        }
        self.one(sql::KEY, columns::params(scope.to_columns()))
    }

    fn put_key(&mut self, key: StoredKey) -> LedgerResult<()> {
        self.rows.put_key(key);
        Ok(())
    }

    fn keys_to_check(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredKey>> {
        self.write_rows()?;
        self.all(sql::KEYS_TO_CHECK, params![millis(now), at_most(limit)])
    }

    fn keys_of(
        &mut self,
        appid: &AppId,
        client: &str,
        after: Option<&IdempotencyKey>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredKey>> {
        self.write_rows()?;
        let after = after.map_or("", IdempotencyKey::as_str);
        self.all(sql::KEYS_OF, params![appid.as_str(), client, after, at_most(limit)])
    }

    fn delete_key(&mut self, scope: &KeyScope) -> LedgerResult<()> {
        self.write_rows()?;
        self.execute(sql::DELETE_KEY, columns::params(scope.to_columns())).map(drop)
    }

    fn webhook_endpoints(&mut self) -> LedgerResult<Arc<[StoredEndpoint]>> {
        if let Some(endpoints) = &self.rows.endpoints {
            return Ok(Arc::clone(endpoints));
        }
        let endpoints = self.all(sql::ENDPOINTS, [])?;
        Ok(Arc::clone(self.rows.endpoints.insert(endpoints.into())))
    }

    fn set_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) -> LedgerResult<()> {
        self.rows.endpoints = None;
        self.execute(sql::DELETE_ENDPOINTS, [])?;
        let insert = |endpoint: &StoredEndpoint| {
            self.execute(sql::INSERT_ENDPOINT, columns::params(endpoint.to_columns())).map(drop)
        };
        endpoints.iter().try_for_each(insert)
    }

    fn delivery(&mut self, id: &DeliveryId) -> LedgerResult<Option<StoredDelivery>> {
        self.one(sql::DELIVERY, columns::params(id.to_columns()))
    }

    fn put_delivery(&mut self, delivery: StoredDelivery) -> LedgerResult<()> {
        self.execute(sql::PUT_DELIVERY, columns::params(delivery.to_columns())).map(drop)
    }

    fn delete_delivery(&mut self, id: &DeliveryId) -> LedgerResult<()> {
        self.execute(sql::DELETE_DELIVERY, columns::params(id.to_columns())).map(drop)
    }

    fn due_deliveries(
        &mut self,
        endpoint: &str,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let values = params![endpoint, millis(now), at_most(limit)];
        self.all(sql::DUE_DELIVERIES, values)
    }

    fn deliveries_waiting_too_long(
        &mut self,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let values = [millis(now + MAX_DELIVERY_DELAY), at_most(limit)];
        self.all(sql::DELIVERIES_WAITING_TOO_LONG, values)
    }

    fn old_deliveries(&mut self, until: UnixMillis, limit: usize) -> LedgerResult<Vec<DeliveryId>> {
        let values = params![millis(until), at_most(limit)];
        self.all(sql::OLD_DELIVERIES, values)
    }
}
