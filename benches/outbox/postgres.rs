//! The outbox on PostgreSQL, with one worker and with two, beside the bare database.

use std::future::pending;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tempfile::TempDir;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Statement};
use wxsub_benches::subject::app as appid;
use wxsub_benches::{Arguments, Goal, Row, Unit, again, output};
use wxsub_outbox::{Outbox, OutboxMessage};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::Postgres;

use crate::ours::{app, client, instantly};
use crate::subject::{SCENE, TEMPLATE, message, user};
use crate::{apalis, print_beside_apalis, rounds, runtime};

/// How many messages are recorded at once, and sent at once.
const AT_ONCE: usize = 512;

pub(crate) fn print(arguments: &Arguments) {
    let messages = arguments.amount(60_000, 6_000);
    let measured: Vec<_> = (0..rounds(arguments))
        .map(|_| {
            let apalis = arguments.apalis.as_deref().map(|program| {
                let postgres = start();
                apalis(program, postgres.url().as_ref(), messages / 4)
            });
            (ours(1, messages), ours(2, messages), runtime().block_on(bare(messages)), apalis)
        })
        .collect();
    let pairs: Vec<_> = measured.iter().map(|(one, _, bare, _)| (one.rate, *bare)).collect();
    let what = "PostgreSQL, one worker: messages per second, beside the bare database on one connection";
    Row::pairs(what, Unit::PerSecond, &pairs, |rate| *rate).print();
    print_beside_apalis(measured.iter().map(|(one, _, _, apalis)| (one.rate, *apalis)));
    let pairs: Vec<_> = measured.iter().map(|(_, two, bare, _)| (two.rate, *bare)).collect();
    let what = "PostgreSQL, two workers, beside the bare database on one connection";
    Row::pairs(what, Unit::PerSecond, &pairs, |rate| *rate).ours(Goal::AtLeast(10_000.0)).print();
    let dead: Vec<_> = measured.iter().map(|(_, two, ..)| two.dead).collect();
    Row::alone("PostgreSQL: dead rows for each sent message, after two workers", Unit::Times, &dead).print();
}

/// A new server that syncs each commit, in the temporary folder.
pub(crate) fn start() -> Postgres {
    Postgres::in_folder(TempDir::new().unwrap(), &["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"])
}

struct Measured {
    rate: f64,
    /// Rows of all tables that are dead, for each message.
    dead: f64,
}

fn ours(workers: usize, messages: usize) -> Measured {
    let postgres = start();
    runtime().block_on(record_consents(&postgres, messages + workers));
    let seconds = run_workers(&postgres, workers, messages);
    let dead = runtime().block_on(async {
        let sql = postgres.sql().await;
        sql.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
        let dead = "SELECT sum(n_dead_tup)::double precision FROM pg_stat_user_tables";
        sql.query_one(dead, &[]).await.unwrap().get::<_, f64>(0)
    });
    Measured { rate: messages as f64 / seconds, dead: dead / messages as f64 }
}

/// Workers in processes of their own. Each enqueues its share, and sends what it claims. Gives the seconds until all are sent.
pub(crate) fn run_workers(postgres: &Postgres, workers: usize, messages: usize) -> f64 {
    let share = (messages / workers).to_string();
    let run = &|number: usize| {
        let number = number.to_string();
        let printed = output(&mut again(&["worker", &postgres.url(), &number, &share]));
        let (began, ended) = printed.trim_end().split_once(' ').unwrap();
        (began.parse().unwrap(), ended.parse().unwrap())
    };
    // Each says when it began and ended.
    let times: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|number| scope.spawn(move || run(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let began = times.iter().map(|(began, _)| *began).fold(f64::MAX, f64::min);
    times.iter().map(|(_, ended)| *ended).fold(0.0, f64::max) - began
}

pub(crate) async fn record_consents(postgres: &Postgres, consents: usize) {
    let ledger = PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap();
    crate::ours::record_consents(&ledger, consents).await;
}

fn seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Enqueues its share of the messages, sends what it claims until no message of any worker is left, and prints when it began
/// and when all were sent.
pub(crate) fn run_worker(url: &str, number: usize, share: usize) {
    runtime().block_on(async {
        let ledger = PostgresLedger::connect(PostgresOptions::new(url)).await.unwrap();
        let outbox = Outbox::builder(ledger).app(app(client(instantly), AT_ONCE)).build();
        let worker = outbox.clone();
        let working = tokio::spawn(async move { worker.run(pending()).await });
        let first = number * (share + 1);
        let receipt = outbox.enqueue(OutboxMessage::new(message(first))).await.unwrap();
        outbox.wait(receipt.id()).await.unwrap();
        let began = seconds();
        let sending = &outbox;
        let enqueued =
            stream::iter(1..=share).map(|next| sending.enqueue(OutboxMessage::new(message(first + next))));
        enqueued.buffer_unordered(AT_ONCE).for_each(async |receipt| drop(receipt.unwrap())).await;
        loop {
            let counts = outbox.ledger().app(&appid()).await.unwrap().counts;
            if counts.len() == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        println!("{began} {}", seconds());
        working.abort();
    });
}

/// How many messages of each kind are in one transaction.
const BATCH: usize = 256;

fn id(number: usize) -> String {
    let bytes = 0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + number as u128;
    format!("{bytes:032x}")
}

/// The state of grants; new messages, their history, their claim and their settlement.
const STATEMENTS: [&str; 5] = [
    "UPDATE wxsub_grant SET state = $2 WHERE id IN (SELECT unnest($1::text[])::uuid)",
    "INSERT INTO wxsub_message (id, appid, mode, touser, template_id, scene, priority, created_ms, send_ms,
        expires_ms, grant_id, state, attempt, failures, version, due_ms, body)
    SELECT id::uuid, $3, 'queued', touser, $4, $5, 'normal', 1, 1, 9000000000000, id::uuid, 'queued', 0, 0, 1, 1, $6
    FROM unnest($1::text[], $2::text[]) AS u (id, touser)",
    "INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt)
    SELECT unnest($1::text[])::uuid, $2, 1, $3, 1",
    "UPDATE wxsub_message SET state = 'attempting', attempt = 1, version = 2, attempted_ms = 1, worker = id
    WHERE id IN (SELECT id FROM wxsub_message WHERE state = 'queued' AND appid = $1 AND priority = 'normal'
        AND due_ms <= 1 ORDER BY due_ms, id LIMIT 256 FOR UPDATE SKIP LOCKED)",
    "UPDATE wxsub_message SET state = 'sent', version = 3, settled_ms = 1, body = NULL
    WHERE id IN (SELECT unnest($1::text[])::uuid)",
];

/// The statements that the messages need, prepared, on one connection, without rules and without callers. As in the outbox, a
/// transaction has the settlements of the claim before, the enqueues of the next messages, and their claim.
async fn bare(messages: usize) -> f64 {
    let postgres = start();
    drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
    let (client, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    // As the ledger: the tables grow from nothing.
    let plans =
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
        SET enable_mergejoin = off; SET jit = off";
    client.batch_execute(plans).await.unwrap();
    let numbers: Vec<_> = (0..messages).collect();
    let (ids, users): (Vec<_>, Vec<_>) = numbers.iter().map(|number| (id(*number), user(*number))).unzip();
    let appid = appid();
    let (appid, scene) = (appid.as_str(), i32::from(SCENE));
    let grants = "INSERT INTO wxsub_grant (id, appid, openid, template_id, scene, state, consented_ms, callback_expires_ms)
        SELECT id::uuid, $3, openid, $4, $5, 'open', 0, 0 FROM unnest($1::text[], $2::text[]) AS u (id, openid)";
    client.execute(grants, &[&ids, &users, &appid, &TEMPLATE, &scene]).await.unwrap();
    let body = String::from_utf8(message(0).to_json()).unwrap();
    let prepared = join_all(STATEMENTS.map(|sql| client.prepare(sql))).await;
    let [Ok(grant), Ok(insert), Ok(event), Ok(claim), Ok(settle)] = &prepared[..] else {
        panic!("{prepared:?}")
    };
    let began = Instant::now();
    let mut claimed: Vec<String> = Vec::new();
    for (ids, users) in ids.chunks(BATCH).zip(users.chunks(BATCH)).chain([(&[][..], &[][..])]) {
        let (ids, users) = (ids.to_vec(), users.to_vec());
        let run = async |statement: &Statement, values: &[&(dyn ToSql + Sync)]| {
            client.execute(statement, values).await.unwrap();
        };
        client.batch_execute("BEGIN").await.unwrap();
        run(settle, &[&claimed]).await;
        run(event, &[&claimed, &3_i32, &"sent"]).await;
        run(grant, &[&claimed, &"used"]).await;
        run(insert, &[&ids, &users, &appid, &TEMPLATE, &scene, &body]).await;
        run(event, &[&ids, &1_i32, &"enqueued"]).await;
        run(grant, &[&ids, &"reserved"]).await;
        run(claim, &[&appid]).await;
        run(event, &[&ids, &2_i32, &"claimed"]).await;
        run(grant, &[&ids, &"attempting"]).await;
        client.batch_execute("COMMIT").await.unwrap();
        claimed = ids;
    }
    messages as f64 / began.elapsed().as_secs_f64()
}
