//! One transaction: lock and load the rows that changes name, apply the changes, write what changed.
//!
//! Rows are locked in one order, so that transactions wait for each other in no circle: keys, messages, workers, grants, apps,
//! counts; and of each kind in the order of their ids. New rows are written in one order, too. What is found by its state, such
//! as due messages, is locked only if no other transaction has it.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_outbox::app::Pauses;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::idempotency::StoredKey;
use wxsub_outbox::ledger::{Change, Gone, Results, Rows, StoredWorker};
use wxsub_outbox::message::{DECISION_DELAY, RESTORED_DECISION_DELAY};
use wxsub_outbox::retention::Retention;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::webhook::DELIVERY_RETENTION;

use crate::columns::{self, AsUuid, Param, column, millis};
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

/// A limit as PostgreSQL takes it.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl<'a> Part<'a> {
    /// Locks and loads the keys and messages that are named, after the statements that begin the transaction.
    pub(crate) async fn begin(
        session: &'a Session,
        clock: Option<&dyn Clock>,
        named: Named,
        begin: &[&'static str],
    ) -> Result<Self, Failure> {
        let keys: Vec<_> = named.keys.iter().collect();
        let messages: Vec<_> = named.messages.iter().collect();
        let voided: Vec<_> = named.voided.iter().collect();
        let deliveries: Vec<_> = named.deliveries.iter().collect();
        let mut pipeline = Pipeline::default();
        for statement in begin {
            pipeline.push(statement, Vec::new());
        }
        let stored_keys = (!keys.is_empty()).then(|| pipeline.push(sql::LOCK_KEYS, columns::scopes(&keys)));
        let mut stored = Vec::new();
        if !messages.is_empty() || !keys.is_empty() {
            let mut params: Vec<Param<'_>> = vec![column(&messages, |id| id.uuid())];
            params.extend(columns::scopes(&keys));
            stored.push(pipeline.push(sql::LOCK_MESSAGES, params));
        }
        if !voided.is_empty() {
            stored.push(pipeline.push(sql::LOCK_HOLDERS, vec![column(&voided, |id| id.uuid())]));
        }
        let delivered = (!deliveries.is_empty())
            .then(|| pipeline.push(sql::LOCK_DELIVERIES, columns::delivery_ids(&deliveries)));
        // When the rows are locked.
        let time = pipeline.push(sql::NOW_AND_ENDPOINTS, Vec::new());
        let results = session.run(&pipeline).await?;
        let results = |at: usize| results.get(at).into_iter().flatten();
        let mut rows = Rows::default();
        let locked_keys = stored_keys.into_iter().flat_map(results).count();
        for row in stored_keys.into_iter().flat_map(results) {
            rows.load_key(columns::read(row)?);
        }
        load_messages(&mut rows, stored.into_iter().flat_map(results))?;
        load_deliveries(&mut rows, delivered.into_iter().flat_map(results))?;
        let endpoints = results(time).filter_map(|row| columns::read_endpoint(row).transpose());
        rows.load_webhook_endpoints(endpoints.collect::<Result<_, _>>()?);
        let database_time = results(time).next().map_or(0, |row| row.get(6));
        let now = clock.map_or(columns::time(database_time), |clock| clock.now().wall);
        drop(pipeline);
        Ok(Self { session, now, rows, named, locked_keys })
    }

    /// Loads all that the changes need besides, and applies them.
    pub(crate) async fn apply(&mut self, changes: &[Change]) -> Result<Results, Failure> {
        let mut lock_workers = true;
        let mut with_grants = true;
        match changes {
            [sweep] if is_sweep(sweep) => {
                self.load_sweep(sweep).await?;
                with_grants = !matches!(sweep, Change::Prune(..) | Change::PruneBatch { .. });
            }
            _ => {
                // A claim of nothing writes nothing, not even a lock.
                lock_workers = self.load_due().await?
                    || !changes.iter().all(|change| matches!(change, Change::Claim { .. }));
            }
        }
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
        let beating: Vec<_> = self.named.beating.iter().collect();
        let mut pipeline = Pipeline::default();
        for (appid, limit) in &self.named.claims {
            let (now, limit) = (millis(self.now), at_most(*limit));
            pipeline.push(sql::DUE, vec![Box::new(appid.as_str()), Box::new(now), Box::new(limit)]);
        }
        if !beating.is_empty() {
            pipeline.push(sql::ATTEMPTS_OF, vec![column(&beating, |id| id.uuid())]);
        }
        let results = self.session.run(&pipeline).await?;
        load_messages(&mut self.rows, results.iter().flatten())?;
        let now = self.now;
        Ok(!self.named.claims.is_empty() && self.rows.loaded_messages().any(|message| message.is_due(now)))
    }

    /// Locks and loads workers and grants: those that are named, and the newest of each subject. Loads nonces, and the pauses of
    /// apps.
    async fn load_rest(&mut self, lock_workers: bool) -> Result<(), Failure> {
        let (rows, named) = (&mut self.rows, &self.named);
        let workers: Vec<_> = named.workers.iter().collect();
        let grants: Vec<_> = named.grants.iter().collect();
        let subjects: Vec<_> = named.subjects.iter().collect();
        let nonces: Vec<_> = named.nonces.iter().collect();
        let keys: Vec<_> = named.keys.iter().collect();
        let apps: Vec<_> = named.apps.iter().collect();
        let params = || {
            let mut params: Vec<Param<'_>> = vec![column(&grants, |id| id.uuid())];
            params.extend(columns::subjects(&subjects));
            params
        };
        let nonce = |nonce: &&[u8; 16]| uuid::Uuid::from_bytes(**nonce);
        let mut pipeline = Pipeline::default();
        let workers = (!workers.is_empty()).then(|| {
            let statement = if lock_workers { sql::LOCK_WORKERS } else { sql::WORKERS };
            pipeline.push(statement, vec![column(&workers, |id| id.uuid())])
        });
        let stored = (!grants.is_empty() || !subjects.is_empty())
            .then(|| (pipeline.push(sql::LOCK_GRANTS, params()), pipeline.push(sql::GRANTS, params())));
        // While this transaction waited for a grant, another one may have recorded the same request.
        let known_keys = (!named.keys.is_empty() && stored.is_some())
            .then(|| pipeline.push(sql::KNOWN_KEYS, columns::scopes(&keys)));
        let used = (!nonces.is_empty()).then(|| pipeline.push(sql::NONCES, vec![column(&nonces, nonce)]));
        let pauses =
            (!apps.is_empty()).then(|| pipeline.push(sql::APPS, vec![column(&apps, |appid| appid.as_str())]));
        let results = self.session.run(&pipeline).await?;
        let results = |at: usize| results.get(at).into_iter().flatten();
        for row in workers.into_iter().flat_map(results) {
            rows.load_worker(columns::read(row)?);
        }
        if let Some((locked, stored)) = stored {
            let locked: BTreeSet<uuid::Uuid> = results(locked).map(|row| row.get(0)).collect();
            for row in results(stored) {
                if !locked.contains(&row.get(0)) {
                    return Err(Failure::Conflict("a grant was recorded meanwhile".to_owned()));
                }
                rows.load_grant(columns::read(row)?);
            }
        }
        if known_keys.is_some_and(|known| results(known).count() > self.locked_keys) {
            return Err(Failure::Conflict("a key was recorded meanwhile".to_owned()));
        }
        for row in used.into_iter().flat_map(results) {
            let (nonce, grant) = columns::read_nonce(row);
            rows.load_nonce(nonce, grant);
        }
        for appid in &named.apps {
            rows.load_app(appid.clone(), Pauses::default());
        }
        load_pauses(rows, pauses.into_iter().flat_map(results))
    }

    async fn lock_apps(&mut self) -> Result<(), Failure> {
        let apps: Vec<_> = self.named.apps.iter().collect();
        let mut pipeline = Pipeline::default();
        pipeline.push(sql::INSERT_APPS, vec![column(&apps, |appid| appid.as_str())]);
        pipeline.push(sql::LOCK_APPS, vec![column(&apps, |appid| appid.as_str())]);
        let results = self.session.run(&pipeline).await?;
        load_pauses(&mut self.rows, results.iter().flatten())
    }

    /// Locks and loads what a sweep finds by the state of rows.
    async fn load_sweep(&mut self, sweep: &Change) -> Result<(), Failure> {
        let (session, now) = (self.session, self.now);
        let rows = &mut self.rows;
        let Some(sweep) = sweep.inner() else { return Ok(()) };
        match sweep {
            Change::MarkGone(gone) => self.choose_live_workers(*gone).await,
            Change::Reclaim(limit) => {
                let found = session.query(sql::ATTEMPTS_OF_GONE_WORKERS, &[&at_most(*limit)]).await?;
                load_messages(rows, &found)
            }
            Change::Expire(limit) => {
                load_messages(rows, &session.query(sql::EXPIRED, &[&millis(now), &at_most(*limit)]).await?)
            }
            Change::ApplyPolicy(appid, _, limit) => {
                let (attempted, restored) = (now.before(DECISION_DELAY), now.before(RESTORED_DECISION_DELAY));
                let (attempted, restored, limit) = (millis(attempted), millis(restored), at_most(*limit));
                let found =
                    session.query(sql::DECIDABLE, &[&appid.as_str(), &restored, &attempted, &limit]).await?;
                load_messages(rows, &found)
            }
            Change::Restore => self.load_unfinished().await,
            Change::Prune(retention, limit) => self.load_ended(retention, *limit).await,
            Change::ClaimDeliveries { endpoint, limit, .. } => {
                let due =
                    session.query(sql::DUE_DELIVERIES, &[endpoint, &millis(now), &at_most(*limit)]).await?;
                load_deliveries(rows, &due)
            }
            Change::Redeliver { endpoint, limit } => {
                let failed =
                    session.query(sql::LOCK_FAILED_DELIVERIES, &[endpoint, &at_most(*limit)]).await?;
                load_deliveries(rows, &failed)
            }
            Change::PruneBatch { appid, client } => {
                let keys = session.query(sql::KEYS_OF, &[&appid.as_str(), client]).await?;
                self.load_keys_with_chains(&keys).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Names the workers that are marked gone.
    async fn choose_live_workers(&mut self, gone: Gone) -> Result<(), Failure> {
        for row in self.session.query(sql::LIVE_WORKERS, &[]).await? {
            let worker: StoredWorker = columns::read(&row)?;
            let chosen = match gone {
                Gone::LeaseOver => worker.is_lease_over(self.now),
                Gone::One(id) => worker.id == id,
                Gone::All => true,
            };
            self.named.workers.extend(chosen.then_some(worker.id));
        }
        Ok(())
    }

    async fn load_unfinished(&mut self) -> Result<(), Failure> {
        for statement in [sql::QUEUED, sql::ATTEMPTING, sql::UNDECIDED] {
            load_messages(&mut self.rows, &self.session.query(statement, &[]).await?)?;
        }
        self.choose_live_workers(Gone::All).await?;
        for row in self.session.query(sql::UNFINISHED_GRANTS, &[]).await? {
            self.named.grants.insert(columns::read::<StoredGrant>(&row)?.id);
        }
        let last = self.session.query(sql::LAST_EVENT, &[]).await?;
        let last: Option<i64> = last.first().and_then(|row| row.get(0));
        self.rows.load_last_event_at(last.map(columns::time));
        Ok(())
    }

    /// What has been kept long enough, and the keys that may stand for it.
    async fn load_ended(&mut self, retention: &Retention, limit: usize) -> Result<(), Failure> {
        let (session, now) = (self.session, self.now);
        let most = at_most(limit);
        let keys = session.query(sql::KEYS_TO_CHECK, &[&millis(now), &most]).await?;
        let keyed = self.load_keys_with_chains(&keys).await?;
        let ids: Vec<_> = keyed.iter().map(AsUuid::uuid).collect();
        for state in MessageState::ALL.iter().copied().filter(|state| state.is_final()) {
            let until = millis(now.before(retention.of_state(state)));
            let ended = match state {
                MessageState::MaybeSent => session.query(sql::DECIDED, &[&until, &most, &ids]).await?,
                _ => session.query(sql::SETTLED, &[&state.as_str(), &until, &most, &ids]).await?,
            };
            load_messages(&mut self.rows, &ended)?;
        }
        let until = millis(now.before(retention.grant));
        for row in session.query(sql::SPENT_GRANTS, &[&until, &millis(now), &most]).await? {
            self.named.grants.insert(columns::read::<StoredGrant>(&row)?.id);
        }
        let until = millis(now.before(DELIVERY_RETENTION));
        let old = session.query(sql::LOCK_OLD_DELIVERIES, &[&until, &most]).await?;
        load_deliveries(&mut self.rows, &old)?;
        for row in session.query(sql::GONE_WORKERS, &[&millis(now)]).await? {
            self.rows.load_worker(columns::read(&row)?);
        }
        Ok(())
    }

    /// Loads keys with their messages and those sent in their place. Gives the messages of the keys.
    async fn load_keys_with_chains(&mut self, keys: &[Row]) -> Result<Vec<MessageId>, Failure> {
        let mut ids = Vec::with_capacity(keys.len());
        for row in keys {
            let key: StoredKey = columns::read(row)?;
            ids.push(key.message);
            self.rows.load_key(key);
        }
        load_messages(
            &mut self.rows,
            &self.session.query(sql::CHAINS, &[&*column(&ids, |id| id.uuid())]).await?,
        )?;
        Ok(ids)
    }
}

fn load_messages<'r>(rows: &mut Rows, found: impl IntoIterator<Item = &'r Row>) -> Result<(), Failure> {
    for row in found {
        rows.load_message(columns::read(row)?);
    }
    Ok(())
}

fn load_deliveries<'r>(rows: &mut Rows, found: impl IntoIterator<Item = &'r Row>) -> Result<(), Failure> {
    for row in found {
        rows.load_delivery(columns::read(row)?);
    }
    Ok(())
}

fn load_pauses<'r>(rows: &mut Rows, found: impl IntoIterator<Item = &'r Row>) -> Result<(), Failure> {
    for row in found {
        let (pauses, appid) = columns::read(row)?;
        rows.load_app(appid, pauses);
    }
    Ok(())
}
