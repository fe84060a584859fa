//! One transaction: lock and load the rows that changes name, apply the changes, write what changed.
//!
//! Rows are locked in one order, so that transactions wait for each other in no circle: keys, messages, workers, grants, apps,
//! counts; and of each kind in the order of their ids. New rows are written in one order, too. What is found by its state, such
//! as due messages, is locked only if no other transaction has it.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_outbox::app::Pauses;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::idempotency::StoredKey;
use wxsub_outbox::ledger::{
    Change, FromColumns, GONE_WORKER_RETENTION, Gone, PAGE, Results, Rows, StoredWorker, at_most, delaying,
    millis,
};
use wxsub_outbox::message::{DECISION_DELAY, MAX_RETRY_DELAY, RESTORED_DECISION_DELAY, StoredMessage};
use wxsub_outbox::retention::Retention;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::webhook::{DELIVERY_RETENTION, MAX_DELIVERY_DELAY};

use crate::columns;
use crate::error::Failure;
use crate::named::{Named, is_sweep};
use crate::session::{Pipeline, Session};
use crate::sql;
use crate::write::{self, Notified};

/// A part of an open transaction: its changes are applied to the same rows.
pub(crate) struct Part<'a> {
    session: &'a Session,
    now: UnixMillis,
    rows: Rows,
    named: Named,
    /// How many of the named keys were stored when they were locked.
    locked_keys: usize,
}

/// Which rows a change of many rows reads next, at most [`PAGE`] of a kind.
pub(crate) enum Page {
    /// Undecided messages of all apps, behind this app and id.
    Undecided(String, MessageId),
    /// Messages that are not final; the queued ones behind this expiry and id.
    Unfinished(i64, MessageId),
    /// Keys of a batch, behind this one.
    Keys(String),
}

/// No id is smaller.
pub(crate) const FIRST_ID: MessageId = MessageId::from_bytes([0; 16]);

impl<'a> Part<'a> {
    /// Locks and loads the keys and messages that are named, after the statements that begin the transaction.
    pub(crate) async fn begin(
        session: &'a Session,
        clock: Option<&dyn Clock>,
        named: Named,
        begin: &[&'static str],
    ) -> Result<Self, Failure> {
        let mut pipeline = Pipeline::default();
        for statement in begin {
            pipeline.push(statement, Vec::new());
        }
        let keys = pipeline.push_rows(sql::LOCK_KEYS, &named.keys);
        let messages = pipeline.push_if(
            !named.messages.is_empty() || !named.keys.is_empty(),
            sql::LOCK_MESSAGES,
            || columns::both(&named.messages, &named.keys),
        );
        let holders = pipeline.push_rows(sql::LOCK_HOLDERS, &named.voided);
        let deliveries = pipeline.push_rows(sql::LOCK_DELIVERIES, &named.deliveries);
        // When the rows are locked.
        let time = pipeline.push(sql::NOW_AND_ENDPOINTS, Vec::new());
        let results = session.run(&pipeline).await?;
        let mut rows = Rows::default();
        columns::each(results.of(keys), |key| rows.load_key(key))?;
        columns::each(results.of(messages.into_iter().chain(holders)), |message| rows.load_message(message))?;
        columns::each(results.of(deliveries), |delivery| rows.load_delivery(delivery))?;
        let (locked_keys, results) = (results.of(keys).count(), |at| results.of(Some(at)));
        let endpoints = results(time).filter_map(|row| columns::read_endpoint(row).transpose());
        rows.load_webhook_endpoints(endpoints.collect::<Result<_, _>>()?);
        let database_time = results(time).next().map_or(0, |row| row.get::<_, i64>(6));
        let database_time = UnixMillis::new(database_time.try_into().unwrap_or(0));
        let now = clock.map_or(database_time, |clock| clock.now().wall);
        drop(pipeline);
        Ok(Self { session, now, rows, named, locked_keys })
    }

    /// Loads all that the changes need besides, and applies them.
    pub(crate) async fn apply(&mut self, changes: &[Change]) -> Result<Results, Failure> {
        let mut lock_workers = true;
        match changes {
            [sweep] if is_sweep(sweep) => self.load_sweep(sweep).await?,
            _ => {
                // A claim of nothing writes nothing, not even a lock.
                lock_workers = self.load_due().await?
                    || !changes.iter().all(|change| matches!(change, Change::Claim { .. }));
            }
        }
        self.apply_loaded(changes, lock_workers).await
    }

    /// Applies the changes. What they find by its state is loaded.
    pub(crate) async fn apply_loaded(
        &mut self,
        changes: &[Change],
        lock_workers: bool,
    ) -> Result<Results, Failure> {
        let with_grants = !matches!(changes, [Change::Prune(..) | Change::PruneBatch { .. }]);
        self.named.add_of_messages(&self.rows, with_grants);
        self.load_rest(lock_workers).await?;
        let results = self.rows.apply_all(changes.iter().cloned(), self.now);
        if self.rows.apps_with_new_pauses().is_empty() {
            return Ok(results);
        }
        // The pauses were read without a lock.
        self.rows.undo_all();
        self.lock_apps().await?;
        Ok(self.rows.apply_all(changes.iter().cloned(), self.now))
    }

    /// Writes what the changes did to the rows.
    pub(crate) async fn write(mut self, shard: i16) -> Result<(), Failure> {
        let notified = Notified { now: self.now, claims: &self.named.claims };
        write::write(self.session, shard, Some(notified), &self.rows.take_written()).await
    }

    /// Locks and loads messages that can be claimed, and loads the running attempts of workers that beat. Says whether there is
    /// something to claim.
    async fn load_due(&mut self) -> Result<bool, Failure> {
        let (rows, named, now) = (&mut self.rows, &self.named, self.now);
        let mut pipeline = Pipeline::default();
        for (appid, limit) in &named.claims {
            let (now, limit) = (millis(now), at_most(*limit));
            pipeline.push(sql::DUE, vec![Box::new(appid.as_str()), Box::new(now), Box::new(limit)]);
        }
        pipeline.push_rows(sql::ATTEMPTS_OF, &named.beating);
        let results = self.session.run(&pipeline).await?;
        columns::each(results.all(), |message| rows.load_message(message))?;
        Ok(!named.claims.is_empty() && rows.loaded_messages().any(|message| message.is_due(now)))
    }

    /// Locks and loads workers and grants: those that are named, and the newest of each subject. Loads nonces, and the pauses of
    /// apps.
    async fn load_rest(&mut self, lock_workers: bool) -> Result<(), Failure> {
        let (rows, named) = (&mut self.rows, &self.named);
        let needs_grants = !named.grants.is_empty() || !named.subjects.is_empty();
        let grants = || columns::both(&named.grants, &named.subjects);
        let lock_or_read = if lock_workers { sql::LOCK_WORKERS } else { sql::WORKERS };
        let mut pipeline = Pipeline::default();
        let workers = pipeline.push_rows(lock_or_read, &named.workers);
        let locked = pipeline.push_if(needs_grants, sql::LOCK_GRANTS, grants);
        let stored = pipeline.push_if(needs_grants, sql::GRANTS, grants);
        // While this transaction waited for a grant, another one may have recorded the same request.
        let known_keys = pipeline.push_if(!named.keys.is_empty() && needs_grants, sql::KNOWN_KEYS, || {
            columns::columns(&named.keys)
        });
        let nonces = pipeline.push_rows(sql::NONCES, &named.nonces);
        let pauses = pipeline.push_rows(sql::APPS, &named.apps);
        let results = self.session.run(&pipeline).await?;
        columns::each(results.of(workers), |worker| rows.load_worker(worker))?;
        let mut seen = BTreeSet::new();
        columns::each(results.of(locked), |grant: GrantId| seen.extend([grant]))?;
        let mut is_locked = true;
        columns::each(results.of(stored), |grant: StoredGrant| {
            is_locked &= seen.contains(&grant.id);
            rows.load_grant(grant);
        })?;
        if !is_locked {
            return Err(Failure::Conflict("a grant was recorded meanwhile".to_owned()));
        }
        if results.of(known_keys).count() > self.locked_keys {
            return Err(Failure::Conflict("a key was recorded meanwhile".to_owned()));
        }
        columns::each(results.of(nonces), |(nonce, grant)| rows.load_nonce(nonce, grant))?;
        named.apps.iter().for_each(|appid| rows.load_app(appid.clone(), Pauses::default()));
        columns::each(results.of(pauses), |(pauses, appid)| rows.load_app(appid, pauses))
    }

    async fn lock_apps(&mut self) -> Result<(), Failure> {
        let mut pipeline = Pipeline::default();
        pipeline.push(sql::INSERT_APPS, columns::columns(&self.named.apps));
        pipeline.push(sql::LOCK_APPS, columns::columns(&self.named.apps));
        let results = self.session.run(&pipeline).await?;
        columns::each(results.all(), |(pauses, appid)| self.rows.load_app(appid, pauses))
    }

    /// Loads the rows of a statement.
    async fn load<T: FromColumns>(
        &mut self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
        load: fn(&mut Rows, T),
    ) -> Result<(), Failure> {
        let found = self.session.query(sql, params).await?;
        columns::each(&found, |row| load(&mut self.rows, row))
    }

    /// Locks and loads what a sweep finds by the state of rows.
    async fn load_sweep(&mut self, sweep: &Change) -> Result<(), Failure> {
        let now = millis(self.now);
        let Some(sweep) = sweep.inner() else { return Ok(()) };
        match sweep {
            Change::MarkGone(gone) => self.choose_live_workers(*gone).await,
            Change::Prune(retention, limit) => self.load_ended(retention, *limit).await,
            Change::Reclaim(limit) => {
                self.load(sql::ATTEMPTS_OF_GONE_WORKERS, &[&at_most(*limit)], Rows::load_message).await
            }
            Change::Expire(limit) => {
                self.load(sql::EXPIRED, &[&now, &at_most(*limit)], Rows::load_message).await
            }
            Change::Reschedule(limit) => {
                let (message, delivery) = (self.now + MAX_RETRY_DELAY, self.now + MAX_DELIVERY_DELAY);
                let params: [&(dyn ToSql + Sync); 2] = [&millis(message), &at_most(*limit)];
                self.load(sql::WAITING_TOO_LONG, &params, Rows::load_message).await?;
                let params: [&(dyn ToSql + Sync); 2] = [&millis(delivery), &at_most(*limit)];
                self.load(sql::DELIVERIES_WAITING_TOO_LONG, &params, Rows::load_delivery).await
            }
            Change::ApplyPolicy(appid, _, limit) => {
                let [restored, restored_to] = delaying(RESTORED_DECISION_DELAY, self.now);
                let [attempted, attempted_to] = delaying(DECISION_DELAY, self.now);
                let (appid, limit) = (appid.as_str(), at_most(*limit));
                let params: [&(dyn ToSql + Sync); 6] =
                    [&appid, &restored, &restored_to, &attempted, &attempted_to, &limit];
                self.load(sql::DECIDABLE, &params, Rows::load_message).await
            }
            Change::ClaimDeliveries { endpoint, limit, .. } => {
                let params: [&(dyn ToSql + Sync); 3] = [endpoint, &now, &at_most(*limit)];
                self.load(sql::DUE_DELIVERIES, &params, Rows::load_delivery).await
            }
            _ => Ok(()),
        }
    }

    /// Locks and loads the rows of a page. Gives the page after it.
    pub(crate) async fn load_page(&mut self, change: &Change, page: &Page) -> Result<Option<Page>, Failure> {
        let limit = at_most(PAGE);
        match (change, page) {
            (Change::PruneBatch { appid, client }, Page::Keys(after)) => {
                let params: [&(dyn ToSql + Sync); 4] = [&appid.as_str(), client, after, &limit];
                let keys = self.session.query(sql::KEYS_OF, &params).await?;
                self.load_keys_with_chains(&keys).await?;
                let last = keys.get(PAGE - 1).map(columns::read::<StoredKey>).transpose()?;
                Ok(last.map(|key| Page::Keys(key.scope.key.as_str().to_owned())))
            }
            (_, Page::Undecided(appid, id)) => {
                let params: [&(dyn ToSql + Sync); 3] = [appid, &columns::id(id), &limit];
                let last = self.load_messages(sql::UNDECIDED, &params).await?;
                let next = |last: StoredMessage| Page::Undecided(last.appid.as_str().to_owned(), last.id);
                Ok(Some(last.map_or(Page::Unfinished(0, FIRST_ID), next)))
            }
            (_, Page::Unfinished(expires_ms, id)) => {
                self.choose_live_workers(Gone::All).await?;
                self.load(sql::ATTEMPTING, &[], Rows::load_message).await?;
                let params: [&(dyn ToSql + Sync); 3] = [expires_ms, &columns::id(id), &limit];
                let last = self.load_messages(sql::QUEUED, &params).await?;
                Ok(last.map(|last| Page::Unfinished(millis(last.expires_at), last.id)))
            }
            _ => Ok(None),
        }
    }

    /// Loads the messages of a statement. Gives the last one if they are a whole page.
    async fn load_messages(
        &mut self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<StoredMessage>, Failure> {
        let found = self.session.query(sql, params).await?;
        columns::each(&found, |message| self.rows.load_message(message))?;
        Ok(found.get(PAGE - 1).map(columns::read).transpose()?)
    }

    /// Names the workers that are marked gone.
    async fn choose_live_workers(&mut self, gone: Gone) -> Result<(), Failure> {
        let live = self.session.query(sql::LIVE_WORKERS, &[]).await?;
        columns::each(&live, |worker: StoredWorker| {
            self.named.workers.extend(gone.includes(&worker, self.now).then_some(worker.id));
        })
    }

    /// What has been kept long enough, and the keys that may stand for it.
    async fn load_ended(&mut self, retention: &Retention, limit: usize) -> Result<(), Failure> {
        let (now, limit) = (self.now, at_most(limit));
        let keys = self.session.query(sql::KEYS_TO_CHECK, &[&millis(now), &limit]).await?;
        let keyed = self.load_keys_with_chains(&keys).await?;
        let ids: Vec<_> = keyed.iter().map(columns::id).collect();
        for state in MessageState::ALL.iter().copied().filter(|state| state.is_final()) {
            let until = millis(now.before(retention.of_state(state)));
            let params: [&(dyn ToSql + Sync); 4] = [&state.as_str(), &until, &limit, &ids];
            match state {
                MessageState::MaybeSent => self.load(sql::DECIDED, &params[1..], Rows::load_message).await?,
                _ => self.load(sql::SETTLED, &params, Rows::load_message).await?,
            }
        }
        let until = millis(now.before(retention.grant));
        let spent = self.session.query(sql::SPENT_GRANTS, &[&until, &millis(now), &limit]).await?;
        columns::each(&spent, |grant: StoredGrant| self.named.grants.extend([grant.id]))?;
        let until = millis(now.before(DELIVERY_RETENTION));
        self.load(sql::LOCK_OLD_DELIVERIES, &[&until, &limit], Rows::load_delivery).await?;
        let until = millis(now.before(GONE_WORKER_RETENTION));
        self.load(sql::GONE_WORKERS, &[&until], Rows::load_worker).await
    }

    /// Loads keys with their messages and those sent in their place. Gives the messages of the keys.
    async fn load_keys_with_chains(&mut self, keys: &[Row]) -> Result<Vec<MessageId>, Failure> {
        let mut ids = Vec::with_capacity(keys.len());
        columns::each(keys, |key: StoredKey| {
            ids.push(key.message);
            self.rows.load_key(key);
        })?;
        let chained: Vec<_> = ids.iter().map(columns::id).collect();
        self.load(sql::CHAINS, &[&chained], Rows::load_message).await?;
        Ok(ids)
    }
}
