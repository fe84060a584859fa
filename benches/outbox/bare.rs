//! The bare database: the statements of the ledger, on one connection, without anything around them.

use std::path::Path;
use std::time::{Instant, SystemTime};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tempfile::TempDir;

use crate::subject::{SCENE, TEMPLATE, message, user};

/// How many messages of each kind are in one transaction, as in the outbox.
const BATCH: usize = 256;

const SCHEMA: &str = include_str!("../../crates/wxsub-sqlite/src/migrations/0001_ledger.sql");

const APP: &str = "wx0123456789abcdef";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A time that also sorts, as the ids of the ledger.
fn id(number: usize) -> [u8; 16] {
    (0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + number as u128).to_be_bytes()
}

/// An empty database with the tables and settings of the ledger.
fn open(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("bare.db")).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    for (name, value) in [("foreign_keys", "ON"), ("cell_size_check", "ON"), ("synchronous", "FULL")] {
        connection.pragma_update(None, name, value).unwrap();
    }
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) {
    transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
}

fn set_grant(transaction: &Transaction<'_>, grant: &[u8; 16], state: &str) {
    execute(transaction, "UPDATE wxsub_grant SET state = ?2 WHERE id = ?1", params![grant, state]);
}

fn add_event(transaction: &Transaction<'_>, message: &[u8; 16], version: u32, event: &str) {
    let sql =
        "INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt) VALUES (?1, ?2, ?3, ?4, 1)";
    execute(transaction, sql, params![message, version, now(), event]);
}

/// Messages per second that are enqueued, claimed and settled.
pub(crate) fn throughput(messages: usize) -> f64 {
    let folder = TempDir::new().unwrap();
    let mut connection = open(folder.path());
    let transaction = connection.transaction().unwrap();
    for number in 0..messages {
        let sql = "INSERT INTO wxsub_grant (id, appid, openid, template_id, scene, state, consented_ms, \
                   callback_expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, 'open', 0, 0)";
        execute(&transaction, sql, params![id(number), APP, user(number), TEMPLATE, SCENE]);
    }
    transaction.commit().unwrap();
    let began = Instant::now();
    let (mut enqueued, mut settled, mut running) = (0, 0, Vec::new());
    while settled < messages {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        settled += running.len();
        running.drain(..).for_each(|claimed| settle(&transaction, &claimed));
        let next = messages.min(enqueued + BATCH);
        (enqueued..next).for_each(|number| enqueue(&transaction, number));
        enqueued = next;
        running = claim(&transaction);
        for (state, count) in
            [("queued", enqueued - settled - running.len()), ("attempting", running.len()), ("sent", settled)]
        {
            let sql = "INSERT OR REPLACE INTO wxsub_count (appid, state, messages) VALUES (?1, ?2, ?3)";
            execute(&transaction, sql, params![APP, state, count]);
        }
        transaction.commit().unwrap();
    }
    messages as f64 / began.elapsed().as_secs_f64()
}

fn enqueue(transaction: &Transaction<'_>, number: usize) {
    let newest = "SELECT id, state FROM wxsub_grant WHERE openid = ?1 AND appid = ?2 AND template_id = ?3 \
                  AND scene = ?4 ORDER BY seq DESC LIMIT 1";
    let grant: [u8; 16] = transaction
        .prepare_cached(newest)
        .unwrap()
        .query_row(params![user(number), APP, TEMPLATE, SCENE], |row| row.get(0))
        .unwrap();
    let (id, at) = (id(number), now());
    let insert = "INSERT INTO wxsub_message (id, appid, mode, touser, template_id, scene, priority, created_ms, send_ms, \
                  expires_ms, grant_id, state, attempt, failures, version, due_ms) \
                  VALUES (?1, ?2, 'queued', ?3, ?4, ?5, 'normal', ?6, ?6, ?7, ?8, 'queued', 0, 0, 1, ?6)";
    let expires = at + 7 * 24 * 3600 * 1000;
    execute(transaction, insert, params![id, APP, user(number), TEMPLATE, SCENE, at, expires, grant]);
    let body = message(number).to_json();
    let insert = "INSERT INTO wxsub_body (message_id, body) VALUES (?1, ?2)";
    execute(transaction, insert, params![id, String::from_utf8_lossy(&body)]);
    add_event(transaction, &id, 1, "enqueued");
    set_grant(transaction, &grant, "reserved");
}

/// A claimed message, and its grant.
type Claimed = ([u8; 16], [u8; 16]);

fn claim(transaction: &Transaction<'_>) -> Vec<Claimed> {
    let due = "SELECT id, grant_id, (SELECT body FROM wxsub_body WHERE message_id = id) FROM wxsub_message \
               WHERE state = 'queued' AND appid = ?1 AND priority = 'normal' AND due_ms <= ?2 AND expires_ms > ?2 \
               ORDER BY due_ms, id LIMIT ?3";
    let mut statement = transaction.prepare_cached(due).unwrap();
    let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(2).and_then(|_| Ok((row.get(0)?, row.get(1)?)));
    let claimed: Vec<Claimed> =
        statement.query_map(params![APP, now(), BATCH], read).unwrap().collect::<Result<_, _>>().unwrap();
    for (id, grant) in &claimed {
        let update = "UPDATE wxsub_message SET state = 'attempting', attempt = 1, version = 2, attempted_ms = ?2, \
                      worker = x'01' WHERE id = ?1";
        execute(transaction, update, params![id, now()]);
        add_event(transaction, id, 2, "claimed");
        set_grant(transaction, grant, "attempting");
    }
    claimed
}

fn settle(transaction: &Transaction<'_>, (id, grant): &Claimed) {
    let update = "UPDATE wxsub_message SET state = 'sent', version = 3, settled_ms = ?2 WHERE id = ?1";
    execute(transaction, update, params![id, now()]);
    execute(transaction, "DELETE FROM wxsub_body WHERE message_id = ?1", params![id]);
    add_event(transaction, id, 3, "sent");
    set_grant(transaction, grant, "used");
}

/// Nanoseconds of two commits of one row, one after the other.
pub(crate) fn two_commits(samples: usize) -> Vec<f64> {
    let folder = TempDir::new().unwrap();
    let mut connection = open(folder.path());
    let commit = |connection: &mut Connection, count: usize| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let sql = "INSERT OR REPLACE INTO wxsub_count (appid, state, messages) VALUES (?1, 'sent', ?2)";
        execute(&transaction, sql, params![APP, count]);
        transaction.commit().unwrap();
    };
    let sample = |number| {
        let began = Instant::now();
        commit(&mut connection, number);
        commit(&mut connection, number + 1);
        began.elapsed().as_nanos() as f64
    };
    (0..samples).map(sample).collect()
}
