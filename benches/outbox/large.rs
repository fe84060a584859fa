//! A ledger with many queued messages: how long a claim takes, and how much memory the sender needs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::{Connection, params};
use tempfile::TempDir;
use wxsub_benches::subject::app as appid;
use wxsub_benches::{Arguments, Goal, Row, Unit, again, output};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::{Ledger, Outbox};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};
use wxsub_test_support::proc_fs;

use crate::ours::{app, client, instantly, settled};
use crate::runtime;
use crate::subject::{SCENE, TEMPLATE, message};

/// With how many queued messages the large ledger is compared.
const SMALL: u64 = 10_000;

/// How many messages a claim takes.
const CLAIMED: usize = 64;

/// How many claims are compared.
const CLAIMS: usize = 50;

/// How many messages the sender sends.
const SENT: usize = 20_000;

pub(crate) fn print(arguments: &Arguments) {
    let rows = arguments.rows.unwrap_or(arguments.amount(1_000_000, 50_000));
    let folder = TempDir::new().unwrap();
    let [large, small] = [rows, SMALL].map(|rows| fill(folder.path(), rows));
    let claims = |path: PathBuf| runtime().block_on(time_claims(path));
    let pairs: Vec<_> = claims(large.clone()).into_iter().zip(claims(small)).collect();
    let what = format!("a claim of {CLAIMED} messages from {rows} queued ones, beside {SMALL}");
    Row::pairs(what, Unit::Millis, &pairs, |nanos| *nanos).ratio(Goal::AtMost(1.5)).print();
    let sender = output(&mut again(&["sender", large.to_str().unwrap(), &SENT.to_string()]));
    let peak: f64 = sender.trim_end().parse().unwrap();
    let what = format!("the most memory of a process that sends {SENT} of these {rows}");
    Row::alone(what, Unit::MiB, &[peak]).ours(Goal::AtMost(40.0 * 1024.0)).print();
}

/// Makes a ledger with so many queued messages.
fn fill(folder: &Path, rows: u64) -> PathBuf {
    let path = folder.join(format!("{rows}.db"));
    drop(runtime().block_on(SqliteLedger::open(&path, SqliteOptions::new())).unwrap());
    let connection = Connection::open(&path).unwrap();
    let fast = "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; PRAGMA foreign_keys = OFF; BEGIN";
    connection.execute_batch(fast).unwrap();
    let message_rows = "WITH RECURSIVE row (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM row WHERE number + 1 < ?1)
        INSERT INTO wxsub_message (id, appid, mode, touser, template_id, scene, priority, created_ms, send_ms, expires_ms,
            state, attempt, failures, version, due_ms)
        SELECT CAST(format('%016d', number) AS BLOB), ?2, 'queued', format('oABCDEFGHIJKLMNOPQRST%07d', number), ?3, ?4,
            'normal', 1, 1, 9000000000000, 'queued', 0, 0, 1, 1 + number FROM row";
    connection.execute(message_rows, params![rows, appid().as_str(), TEMPLATE, SCENE]).unwrap();
    let body = String::from_utf8(message(0).to_json()).unwrap();
    let bodies = "INSERT INTO wxsub_body (message_id, body) SELECT id, ?1 FROM wxsub_message";
    connection.execute(bodies, [body]).unwrap();
    let events = "INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt)
        SELECT id, 1, 1, 'enqueued', 0 FROM wxsub_message";
    connection.execute(events, []).unwrap();
    let appid = appid();
    connection
        .execute("INSERT INTO wxsub_count VALUES (?1, 'queued', ?2)", params![appid.as_str(), rows])
        .unwrap();
    connection.execute("INSERT INTO wxsub_app (appid, undecided) VALUES (?1, 0)", [appid.as_str()]).unwrap();
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    path
}

async fn open(path: &Path) -> SqliteLedger {
    // The check reads the whole file.
    SqliteLedger::open(path, SqliteOptions::new().quick_check(false)).await.unwrap()
}

/// Nanoseconds of claims, one after the other.
async fn time_claims(path: PathBuf) -> Vec<f64> {
    let ledger = open(&path).await;
    let worker = IdGenerator::new(None).worker(SystemClock::new().now().wall).unwrap();
    ledger.commit(vec![Change::Register(worker)]).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..CLAIMS {
        let began = Instant::now();
        let claim = Change::Claim { worker, appid: appid(), limit: CLAIMED };
        let claimed = ledger.commit(vec![claim]).await.unwrap().remove(0).unwrap();
        times.push(began.elapsed().as_nanos() as f64);
        assert!(matches!(claimed, Applied::Messages(messages) if messages.len() == CLAIMED));
    }
    times
}

/// Sends so many messages of a ledger, and prints the most memory that it took, in KiB.
pub(crate) fn run_sender(path: &Path, messages: usize) {
    runtime().block_on(async {
        let outbox =
            Outbox::builder(open(path).await).app(app(client(instantly), 64).require_grant(false)).build();
        let mut outcomes = outbox.outcomes();
        let worker = outbox.clone();
        let working = tokio::spawn(async move { worker.run(std::future::pending()).await });
        settled(&mut outcomes, messages).await;
        println!("{}", proc_fs::peak("self").unwrap());
        working.abort();
    });
}
