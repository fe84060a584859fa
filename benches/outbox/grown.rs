//! A ledger in PostgreSQL that has sent a million messages: its size, its dead rows, and what commits take before and after.

use std::time::{Duration, Instant};

use wxsub_benches::subject::app as appid;
use wxsub_benches::{Arguments, Row, Unit};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::Ledger;
use wxsub_outbox::id::{IdGenerator, WorkerId};
use wxsub_outbox::ledger::{Applied, Change, NewMessage};
use wxsub_outbox::message::{DEFAULT_MAX_FAILURES, Settlement, StoredMessage};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::Postgres;

use crate::postgres::{record_consents, run_workers, start};
use crate::runtime;
use crate::subject::message;

/// How many messages a commit enqueues, claims or settles.
const BATCH: usize = 64;

/// How many commits of each kind are compared.
const COMMITS: usize = 50;

const WORKERS: usize = 2;

pub(crate) fn print(arguments: &Arguments) {
    let rows = arguments.rows.unwrap_or(arguments.amount(1_000_000, 20_000));
    let messages = usize::try_from(rows).unwrap();
    let postgres = start();
    let first = messages + WORKERS;
    runtime().block_on(record_consents(&postgres, first + 2 * BATCH * COMMITS));
    let before = runtime().block_on(time_commits(&postgres, first));
    let sent = std::thread::scope(|scope| {
        let progress = scope.spawn(|| runtime().block_on(time_tenths(&postgres, messages)));
        run_workers(&postgres, WORKERS, messages);
        progress.join().unwrap()
    });
    let after = runtime().block_on(time_commits(&postgres, first + BATCH * COMMITS));
    let rate = |seconds: &f64| messages as f64 / 10.0 / seconds;
    let tenths = [(rate(&sent[8]), rate(&sent[1])), (rate(&sent[9]), rate(&sent[0]))];
    let what = format!("messages per second of two workers: the last fifth of {messages}, beside the first");
    Row::pairs(what, Unit::PerSecond, &tenths, |rate| *rate).print();
    for (kind, before, after) in [
        ("enqueue", &before.enqueue, &after.enqueue),
        ("claim", &before.claim, &after.claim),
        ("settlement", &before.settle, &after.settle),
    ] {
        let pairs: Vec<_> = after.iter().copied().zip(before.iter().copied()).collect();
        let what = format!("PostgreSQL: {kind} of {BATCH} messages after {messages} messages, beside before");
        Row::pairs(what, Unit::Millis, &pairs, |nanos| *nanos).print();
    }
    runtime().block_on(print_tables(&postgres, messages));
}

/// Nanoseconds of commits, one after the other.
#[derive(Default)]
struct Times {
    enqueue: Vec<f64>,
    claim: Vec<f64>,
    settle: Vec<f64>,
}

/// Of messages to users from this number on, who have consented.
async fn time_commits(postgres: &Postgres, first: usize) -> Times {
    let ledger = PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap();
    let ids = IdGenerator::new(None);
    let now = SystemClock::new().now().wall;
    let worker = ids.worker(now).unwrap();
    ledger.commit(vec![Change::Register(worker)]).await.unwrap();
    let mut times = Times::default();
    for batch in 0..COMMITS {
        let users = first + batch * BATCH..first + (batch + 1) * BATCH;
        let new = |user| NewMessage {
            require_grant: true,
            ..NewMessage::new(ids.message(now).unwrap(), appid(), message(user))
        };
        let enqueue = users.map(|user| Change::Enqueue(Box::new(new(user)))).collect();
        times.enqueue.push(timed(&ledger, enqueue).await.0);
        let (took, claimed) =
            timed(&ledger, vec![Change::Claim { worker, appid: appid(), limit: BATCH }]).await;
        times.claim.push(took);
        let Some(Applied::Messages(claimed)) = claimed.into_iter().next() else { panic!("nothing claimed") };
        assert_eq!(claimed.len(), BATCH);
        times.settle.push(timed(&ledger, claimed.iter().map(|one| settle(worker, one)).collect()).await.0);
    }
    ledger.commit(vec![Change::MarkGone(wxsub_outbox::ledger::Gone::One(worker))]).await.unwrap();
    times
}

async fn timed(ledger: &PostgresLedger, changes: Vec<Change>) -> (f64, Vec<Applied>) {
    let began = Instant::now();
    let applied = ledger.commit(changes).await.unwrap();
    let took = began.elapsed().as_nanos() as f64;
    (took, applied.into_iter().map(Result::unwrap).collect())
}

fn settle(worker: WorkerId, message: &StoredMessage) -> Change {
    let (message, attempt) = (message.id, message.attempt);
    Change::Settle {
        message,
        worker,
        attempt,
        settlement: Settlement::Sent,
        max_failures: DEFAULT_MAX_FAILURES,
    }
}

/// Seconds for each tenth of the messages, as an observer sees them.
async fn time_tenths(postgres: &Postgres, messages: usize) -> Vec<f64> {
    let sql = postgres.sql().await;
    let sent = async || {
        let sent = "SELECT coalesce(sum(messages), 0)::bigint FROM wxsub_count WHERE state = 'sent'";
        usize::try_from(sql.query_one(sent, &[]).await.unwrap().get::<_, i64>(0)).unwrap()
    };
    let already = sent().await;
    while sent().await == already {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut ends = vec![Instant::now()];
    for tenth in 1..=10 {
        while sent().await < already + messages * tenth / 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ends.push(Instant::now());
    }
    ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
}

/// What the server knows of each table.
async fn print_tables(postgres: &Postgres, messages: usize) {
    let sql = postgres.sql().await;
    sql.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let tables = "SELECT relname::text, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid), autovacuum_count,
            CASE WHEN n_tup_upd = 0 THEN '' ELSE round(100.0 * n_tup_hot_upd / n_tup_upd)::text || ' %' END
        FROM pg_stat_user_tables WHERE n_live_tup > 0 ORDER BY pg_total_relation_size(relid) DESC";
    let mut all = 0;
    println!(
        "\n| table | rows | dead | table | indexes | vacuums | updates in place |\n|---|---|---|---|---|---|---|"
    );
    for row in sql.query(tables, &[]).await.unwrap() {
        let (name, updates): (String, String) = (row.get(0), row.get(6));
        let [live, dead, table, indexes, vacuums] = [1, 2, 3, 4, 5].map(|at| row.get::<_, i64>(at));
        all += table + indexes;
        let mib = |bytes: i64| bytes as f64 / 1024.0 / 1024.0;
        println!(
            "| {name} | {live} | {dead} | {:.1} MiB | {:.1} MiB | {vacuums} | {updates} |",
            mib(table),
            mib(indexes)
        );
    }
    println!("\n{:.0} bytes for each sent message", all as f64 / messages as f64);
}
