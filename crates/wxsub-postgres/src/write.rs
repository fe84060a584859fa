//! Writes what changed.

use std::collections::{BTreeMap, BTreeSet};

use wxsub_core::clock::UnixMillis;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::idempotency::StoredKey;
use wxsub_outbox::ledger::{Write, Written, WrittenApp, millis};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::webhook::{DeliveryId, StoredDelivery};
use wxsub_proto::AppId;

use crate::columns::{self, Param, column};
use crate::error::Failure;
use crate::session::{Pipeline, Session};
use crate::sql;

/// Rows that are written, by what happens to them.
struct Split<'a, T> {
    new: Vec<&'a T>,
    changed: Vec<&'a T>,
    deleted: Vec<&'a T>,
}

fn split<T: PartialEq>(writes: &[Write<T>]) -> Split<'_, T> {
    let mut split = Split { new: Vec::new(), changed: Vec::new(), deleted: Vec::new() };
    for write in writes {
        match (&write.before, &write.after) {
            (None, Some(after)) => split.new.push(after),
            (Some(before), Some(after)) if before != after => split.changed.push(after),
            (Some(before), None) => split.deleted.push(before),
            _ => {}
        }
    }
    split
}

/// Which new messages other processes are notified of.
pub(crate) struct Notified<'a> {
    /// Messages that are due now.
    pub(crate) now: UnixMillis,
    /// Not those of these apps: the worker of this process is claiming, and looks for them itself.
    pub(crate) claims: &'a BTreeMap<AppId, usize>,
}

impl Notified<'_> {
    fn due_apps<'a>(&self, new: &[&'a StoredMessage]) -> Vec<&'a str> {
        let notifies =
            |message: &&&StoredMessage| message.is_due(self.now) && !self.claims.contains_key(&message.appid);
        let apps: BTreeSet<_> = new.iter().filter(notifies).map(|message| message.appid.as_str()).collect();
        apps.into_iter().collect()
    }
}

/// Writes everything in one round trip.
pub(crate) async fn write(
    session: &Session,
    shard: i16,
    notified: Option<Notified<'_>>,
    written: &Written,
) -> Result<(), Failure> {
    let Written { workers, apps, grants, nonces, messages, events, audit, keys, endpoints, deliveries } =
        written;
    let (mut grants, mut messages, mut keys) =
        (split::<StoredGrant>(grants), split::<StoredMessage>(messages), split::<StoredKey>(keys));
    // An insert waits for that of the same key in another transaction. In one order, they wait in no circle. The grants of a
    // subject stay in the order of their recording.
    grants.new.sort_by(|one, next| one.subject.cmp(&next.subject));
    messages.new.sort_by_key(|message| message.id);
    keys.new.sort_by(|one, next| one.scope.cmp(&next.scope));
    let mut nonces = nonces.clone();
    nonces.sort_unstable();
    let deleted_keys = keys.deleted.iter().map(|key| &key.scope);
    let put_workers: Vec<_> = workers.iter().filter_map(|write| write.after).collect();
    let gone_workers: Vec<_> =
        workers.iter().filter(|write| write.after.is_none()).filter_map(|write| write.before).collect();
    let counts = counts(apps);
    let (put_deliveries, delivered) = deliveries_in_order(deliveries);
    let due_apps = notified.as_ref().map_or_else(Vec::new, |notified| notified.due_apps(&messages.new));
    let now = notified.map(|notified| millis(notified.now));
    let mut pipeline = Pipeline::default();
    // Each statement, and how many rows it must write.
    let mut expected = Vec::new();
    let mut push = |sql, params, rows: usize| {
        if rows > 0 {
            pipeline.push(sql, params);
            expected.push((sql, rows));
        }
    };
    push(sql::NOTIFY, vec![column(&due_apps, |appid| *appid), Box::new(now)], due_apps.len().min(1));
    push(sql::PUT_WORKERS, columns::columns(&put_workers), put_workers.len());
    push(sql::DELETE_KEYS, columns::columns(deleted_keys), keys.deleted.len());
    push(
        sql::DELETE_MESSAGES,
        columns::columns(messages.deleted.iter().map(|message| &message.id)),
        messages.deleted.len(),
    );
    let deleted_grants = grants.deleted.iter().map(|grant| &grant.id);
    push(sql::DELETE_GRANTS, columns::columns(deleted_grants), grants.deleted.len());
    push(sql::UPDATE_GRANTS, columns::changed_grants(&grants.changed), grants.changed.len());
    push(sql::INSERT_GRANTS, columns::columns(grants.new.iter().copied()), grants.new.len());
    push(sql::UPDATE_MESSAGES, columns::messages(&messages.changed, false), messages.changed.len());
    push(sql::INSERT_MESSAGES, columns::messages(&messages.new, true), messages.new.len());
    push(sql::INSERT_EVENTS, columns::columns(events), events.len());
    push(sql::INSERT_AUDIT, columns::columns(audit), audit.len());
    push(sql::UPDATE_KEYS, columns::columns(keys.changed.iter().copied()), keys.changed.len());
    push(sql::INSERT_KEYS, columns::columns(keys.new.iter().copied()), keys.new.len());
    let used = columns::both(nonces.iter().map(|(nonce, _)| nonce), nonces.iter().map(|(_, grant)| grant));
    push(sql::INSERT_NONCES, used, nonces.len());
    if let Some(endpoints) = endpoints {
        push(sql::SET_ENDPOINTS, columns::columns(&**endpoints), 1);
    }
    push(sql::PUT_DELIVERIES, columns::columns(put_deliveries.iter().copied()), put_deliveries.len());
    push(sql::DELETE_DELIVERIES, columns::columns(delivered.iter().copied()), delivered.len());
    let gone = gone_workers.iter().map(|worker| &worker.id);
    push(sql::DELETE_WORKERS, columns::columns(gone), gone_workers.len());
    push(sql::ADD_COUNTS, added_counts(shard, &counts), counts.len());
    for (app, pauses) in apps.iter().filter_map(|app| Some((app, app.pauses.as_ref()?))) {
        push(sql::PUT_PAUSES, columns::pauses(&app.appid, pauses), 1);
    }
    let written = expected.into_iter().zip(session.write(&pipeline).await?);
    check_written(written)
}

/// A history that is ahead of its message gets no row.
fn check_written(written: impl Iterator<Item = ((&'static str, usize), u64)>) -> Result<(), Failure> {
    let mut checked = written.filter(|((sql, _), _)| *sql != sql::INSERT_EVENTS);
    checked.try_for_each(|((sql, expected), rows)| check_rows(sql, expected, rows))
}

/// The deliveries to put, in the order in which their rows are locked, and those to delete.
fn deliveries_in_order(writes: &[Write<StoredDelivery>]) -> (Vec<&StoredDelivery>, Vec<&DeliveryId>) {
    let deliveries = split::<StoredDelivery>(writes);
    let mut put: Vec<_> = deliveries.new.into_iter().chain(deliveries.changed).collect();
    put.sort_by(|one, next| one.id.cmp(&next.id));
    (put, deliveries.deleted.into_iter().map(|delivery| &delivery.id).collect())
}

fn added_counts<'a>(shard: i16, counts: &'a [(&'a str, &'static str, i64)]) -> Vec<Param<'a>> {
    vec![
        Box::new(shard),
        column(counts, |(appid, ..)| *appid),
        column(counts, |(_, state, _)| *state),
        column(counts, |(.., difference)| *difference),
    ]
}

/// All rows are locked: if one is missing, another transaction was in the way.
pub(crate) fn check_rows(sql: &str, expected: usize, rows: u64) -> Result<(), Failure> {
    if u64::try_from(expected).ok() == Some(rows) {
        return Ok(());
    }
    let statement = sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    Err(Failure::Conflict(format!("{statement}: {rows} rows instead of {expected}")))
}

/// By how much counts change, in the order in which their rows are locked.
fn counts(apps: &[WrittenApp]) -> Vec<(&str, &'static str, i64)> {
    let mut counts = Vec::new();
    for app in apps {
        counts.extend(
            app.counts.iter().map(|(state, difference)| (app.appid.as_str(), state.as_str(), *difference)),
        );
        if app.undecided != 0 {
            counts.push((app.appid.as_str(), UNDECIDED, app.undecided));
        }
    }
    counts.sort_unstable();
    counts
}

/// Under this name the `maybe_sent` messages without a decision are counted, beside the states.
pub(crate) const UNDECIDED: &str = "undecided";
