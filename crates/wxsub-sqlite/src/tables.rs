//! The tables within one open transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::LedgerError;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{KeyScope, StoredKey};
use wxsub_outbox::ledger::{StoredWorker, Tables};
use wxsub_outbox::message::{DECISION_DELAY, RESTORED_DECISION_DELAY, StoredEvent, StoredMessage};
use wxsub_outbox::state::{MessageState, Priority};
use wxsub_proto::AppId;

use crate::columns::{self, millis};
use crate::error::failed;
use crate::sql;

/// The tables of an open transaction. Apps are written once, at its end: every change counts messages.
pub(crate) struct OpenTables<'a> {
    connection: &'a Connection,
    apps: BTreeMap<AppId, App>,
    /// What apps were before each write since the last savepoint.
    undo: Vec<(AppId, StoredApp)>,
}

struct App {
    /// As the database has it; `None` if it is new.
    stored: Option<StoredApp>,
    now: StoredApp,
}

impl<'a> OpenTables<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, apps: BTreeMap::new(), undo: Vec::new() }
    }

    pub(crate) fn savepoint(&mut self) -> Result<(), LedgerError> {
        self.undo.clear();
        self.execute("SAVEPOINT change", []).map(drop)
    }

    /// Keeps what was written since the savepoint, or undoes it.
    pub(crate) fn release(&mut self, keep: bool) -> Result<(), LedgerError> {
        if !keep {
            for (appid, before) in self.undo.drain(..).rev() {
                if let Some(app) = self.apps.get_mut(&appid) {
                    app.now = before;
                }
            }
            self.execute("ROLLBACK TO change", [])?;
        }
        self.execute("RELEASE change", []).map(drop)
    }

    /// Writes the apps that changed.
    pub(crate) fn finish(&mut self) -> Result<(), LedgerError> {
        for (appid, app) in &self.apps {
            if app.stored.as_ref() != Some(&app.now) {
                write_app(self.connection, appid, app).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<usize, LedgerError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(failed)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        let statement = self.connection.prepare_cached(sql);
        statement.and_then(|mut statement| statement.query_row(params, read).optional()).map_err(failed)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let statement = self.connection.prepare_cached(sql);
        statement.and_then(|mut statement| statement.query_map(params, read)?.collect()).map_err(failed)
    }

    fn messages(&self, sql: &str, params: impl Params) -> Result<Vec<StoredMessage>, LedgerError> {
        self.all(sql, params, columns::read_message)
    }
}

/// A limit as SQLite takes it.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What is stored of an app; `None` if it is new.
pub(crate) fn read_app(connection: &Connection, appid: &AppId) -> rusqlite::Result<Option<StoredApp>> {
    let mut statement = connection.prepare_cached(sql::APP)?;
    let read = |row: &Row<'_>| Ok((columns::read_pauses(row)?, row.get::<_, u64>(9)?));
    let Some((pauses, undecided)) = statement.query_row([appid.as_str()], read).optional()? else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(sql::COUNTS)?;
    let unreadable =
        |error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error));
    let read = |row: &Row<'_>| {
        let state = row.get::<_, String>(0)?.parse::<MessageState>().map_err(unreadable)?;
        Ok((state, row.get(1)?))
    };
    let counts = statement.query_map([appid.as_str()], read)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(StoredApp { pauses, counts, undecided }))
}

fn write_app(connection: &Connection, appid: &AppId, app: &App) -> rusqlite::Result<()> {
    let stored = app.stored.as_ref();
    if stored.is_none_or(|stored| stored.pauses != app.now.pauses || stored.undecided != app.now.undecided) {
        let mut statement = connection.prepare_cached(sql::PUT_APP)?;
        for (index, value) in columns::pauses_values(&app.now.pauses).iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        statement.raw_bind_parameter(10, app.now.undecided)?;
        statement.raw_bind_parameter(11, appid.as_str())?;
        statement.raw_execute()?;
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
    fn worker(&mut self, id: WorkerId) -> Result<Option<StoredWorker>, LedgerError> {
        self.one(sql::WORKER, [id.as_bytes()], columns::read_worker)
    }

    fn put_worker(&mut self, worker: StoredWorker) -> Result<(), LedgerError> {
        let values = params![worker.id.as_bytes(), millis(worker.beat_at), worker.gone_at.map(millis)];
        self.execute(sql::PUT_WORKER, values).map(drop)
    }

    fn live_workers(&mut self) -> Result<Vec<StoredWorker>, LedgerError> {
        self.all(sql::LIVE_WORKERS, [], columns::read_worker)
    }

    fn delete_gone_workers(&mut self, until: UnixMillis) -> Result<usize, LedgerError> {
        self.execute(sql::DELETE_GONE_WORKERS, [millis(until)])
    }

    fn app(&mut self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        Ok(match self.apps.entry(appid.clone()) {
            Entry::Occupied(known) => known.get().now.clone(),
            Entry::Vacant(new) => {
                let stored = read_app(self.connection, appid).map_err(failed)?;
                let now = stored.clone().unwrap_or_default();
                new.insert(App { stored, now }).now.clone()
            }
        })
    }

    fn put_app(&mut self, appid: &AppId, app: StoredApp) -> Result<(), LedgerError> {
        self.app(appid)?;
        if let Some(known) = self.apps.get_mut(appid) {
            let before = std::mem::replace(&mut known.now, app);
            self.undo.push((appid.clone(), before));
        }
        Ok(())
    }

    fn grant(&mut self, id: GrantId) -> Result<Option<StoredGrant>, LedgerError> {
        self.one(sql::GRANT, [id.as_bytes()], columns::read_grant)
    }

    fn newest_grant(&mut self, subject: &Subject) -> Result<Option<StoredGrant>, LedgerError> {
        let Subject { appid, openid, template_id, scene } = subject;
        let values = params![openid.as_str(), appid.as_str(), template_id.as_str(), scene.get()];
        self.one(sql::NEWEST_GRANT, values, columns::read_grant)
    }

    fn put_grant(&mut self, grant: StoredGrant) -> Result<(), LedgerError> {
        let (state, expires) = (grant.state.as_str(), millis(grant.callback_expires_at));
        if self.execute(sql::UPDATE_GRANT, params![grant.id.as_bytes(), state, expires])? > 0 {
            return Ok(());
        }
        let Subject { appid, openid, template_id, scene } = &grant.subject;
        let values = params![
            grant.id.as_bytes(),
            appid.as_str(),
            openid.as_str(),
            template_id.as_str(),
            scene.get(),
            state,
            millis(grant.consented_at),
            expires,
        ];
        self.execute(sql::INSERT_GRANT, values).map(drop)
    }

    fn unfinished_grants(&mut self) -> Result<Vec<StoredGrant>, LedgerError> {
        self.all(sql::UNFINISHED_GRANTS, [], columns::read_grant)
    }

    fn spent_grants(
        &mut self,
        until: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<GrantId>, LedgerError> {
        let values = params![millis(until), millis(now), at_most(limit)];
        self.all(sql::SPENT_GRANTS, values, |row| row.get(0).map(GrantId::from_bytes))
    }

    fn delete_grant(&mut self, id: GrantId) -> Result<(), LedgerError> {
        self.execute(sql::DELETE_GRANT, [id.as_bytes()]).map(drop)
    }

    fn nonce(&mut self, nonce: &[u8; 16]) -> Result<Option<GrantId>, LedgerError> {
        self.one(sql::NONCE, [nonce], |row| row.get(0).map(GrantId::from_bytes))
    }

    fn put_nonce(&mut self, nonce: [u8; 16], grant: GrantId) -> Result<(), LedgerError> {
        self.execute(sql::PUT_NONCE, [&nonce, grant.as_bytes()]).map(drop)
    }

    fn message(&mut self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.one(sql::MESSAGE, [id.as_bytes()], columns::read_message)
    }

    fn put_message(&mut self, message: StoredMessage) -> Result<(), LedgerError> {
        let (values, id) = (columns::message_values(&message), message.id.as_bytes());
        let is_new = message.version == 1;
        let put = if is_new { sql::INSERT_MESSAGE } else { sql::UPDATE_MESSAGE };
        self.execute(put, params_from_iter(&values))?;
        // A body never changes; it only goes.
        match &message.body {
            Some(body) if is_new => {
                let body = body.to_json();
                self.execute(sql::INSERT_BODY, params![id, String::from_utf8_lossy(&body)]).map(drop)
            }
            Some(_) => Ok(()),
            None => self.execute(sql::DELETE_BODY, [id]).map(drop),
        }
    }

    fn holder(&mut self, grant: GrantId) -> Result<Option<MessageId>, LedgerError> {
        self.one(sql::HOLDER, [grant.as_bytes()], |row| row.get(0).map(MessageId::from_bytes))
    }

    fn due(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        let mut due = Vec::new();
        for priority in Priority::ALL {
            if due.len() < limit {
                let rest = at_most(limit - due.len());
                let values = params![appid.as_str(), priority.as_str(), millis(now), rest];
                due.extend(self.messages(sql::DUE, values)?);
            }
        }
        Ok(due)
    }

    fn expired(&mut self, now: UnixMillis, limit: usize) -> Result<Vec<StoredMessage>, LedgerError> {
        self.messages(sql::EXPIRED, params![millis(now), at_most(limit)])
    }

    fn attempts_of(&mut self, worker: WorkerId) -> Result<Vec<StoredMessage>, LedgerError> {
        self.messages(sql::ATTEMPTS_OF, [worker.as_bytes()])
    }

    fn attempts_of_gone_workers(&mut self, limit: usize) -> Result<Vec<StoredMessage>, LedgerError> {
        self.messages(sql::ATTEMPTS_OF_GONE_WORKERS, [at_most(limit)])
    }

    fn decidable(
        &mut self,
        appid: &AppId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        let (attempted, restored) = (now.before(DECISION_DELAY), now.before(RESTORED_DECISION_DELAY));
        let values = params![appid.as_str(), millis(restored), millis(attempted), at_most(limit)];
        self.messages(sql::DECIDABLE, values)
    }

    fn unfinished(&mut self) -> Result<Vec<StoredMessage>, LedgerError> {
        let mut unfinished = self.messages(sql::QUEUED, [])?;
        unfinished.extend(self.messages(sql::ATTEMPTING, [])?);
        unfinished.extend(self.messages(sql::UNDECIDED, [])?);
        Ok(unfinished)
    }

    fn ended(
        &mut self,
        state: MessageState,
        until: UnixMillis,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, LedgerError> {
        match state {
            MessageState::Queued | MessageState::Attempting => Ok(Vec::new()),
            MessageState::MaybeSent => self.messages(sql::DECIDED, params![millis(until), at_most(limit)]),
            MessageState::Sent | MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => {
                self.messages(sql::SETTLED, params![state.as_str(), millis(until), at_most(limit)])
            }
        }
    }

    fn delete_message(&mut self, id: MessageId) -> Result<(), LedgerError> {
        self.execute(sql::DELETE_MESSAGE, [id.as_bytes()]).map(drop)
    }

    fn append_event(&mut self, event: StoredEvent) -> Result<(), LedgerError> {
        let values = params![
            event.message.as_bytes(),
            event.version,
            millis(event.at),
            event.kind.as_str(),
            event.attempt,
            event.actor,
            event.detail,
        ];
        self.execute(sql::APPEND_EVENT, values).map(drop)
    }

    fn last_event_at(&mut self) -> Result<Option<UnixMillis>, LedgerError> {
        let last = self.one(sql::LAST_EVENT, [], |row| row.get::<_, Option<i64>>(0))?.flatten();
        Ok(last.map(|at| UnixMillis::new(u64::try_from(at).unwrap_or(0))))
    }

    fn key(&mut self, scope: &KeyScope) -> Result<Option<StoredKey>, LedgerError> {
        let values = params![scope.appid.as_str(), scope.client, scope.key.as_str()];
        self.one(sql::KEY, values, columns::read_key)
    }

    fn put_key(&mut self, key: StoredKey) -> Result<(), LedgerError> {
        let values = params![
            key.scope.appid.as_str(),
            key.scope.client,
            key.scope.key.as_str(),
            key.fingerprint.as_bytes(),
            key.message.as_bytes(),
            millis(key.check_at),
        ];
        self.execute(sql::PUT_KEY, values).map(drop)
    }

    fn keys_to_check(&mut self, now: UnixMillis, limit: usize) -> Result<Vec<StoredKey>, LedgerError> {
        self.all(sql::KEYS_TO_CHECK, params![millis(now), at_most(limit)], columns::read_key)
    }

    fn keys_of(&mut self, appid: &AppId, client: &str) -> Result<Vec<StoredKey>, LedgerError> {
        self.all(sql::KEYS_OF, params![appid.as_str(), client], columns::read_key)
    }

    fn delete_key(&mut self, scope: &KeyScope) -> Result<(), LedgerError> {
        let values = params![scope.appid.as_str(), scope.client, scope.key.as_str()];
        self.execute(sql::DELETE_KEY, values).map(drop)
    }
}
