//! Jobs in apalis on SQLite: `wxsub-bench-apalis FOLDER JOBS` prints how many a second are recorded, run and recorded as done.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteStorage};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

/// How many jobs are recorded in one transaction, and fetched in one.
const BATCH: usize = 256;

/// A message of docs/benchmarks-outbox.md.
#[derive(Serialize, Deserialize)]
struct Message {
    touser: String,
    template_id: String,
    scene: u16,
    title: String,
    content: String,
}

fn message(number: usize) -> Message {
    Message {
        touser: format!("oABCDEFGHIJKLMNOPQRST{number:07}"),
        template_id: "abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE".to_owned(),
        scene: 1000,
        title: "快递到了".to_owned(),
        content: "您的包裹已到达。\n请于今日内领取，取件码 1234。".to_owned(),
    }
}

/// The job: an instant send.
async fn send(_message: Message) -> Result<(), BoxDynError> {
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxDynError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("the folder is missing")?);
    let jobs: usize = arguments.next().ok_or("the number of jobs is missing")?.parse()?;
    // As the ledger: each commit is synced.
    let options = SqliteConnectOptions::new()
        .filename(folder.join("apalis.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Its workers keep the lock that a push needs for seconds, on a slow disk.
        .busy_timeout(Duration::from_secs(60))
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    SqliteStorage::migrations().run(&pool).await?;
    let config = Config::default().queue("messages").batch_size(BATCH);
    let storage = SqliteStorage::<Message>::new(&pool).with_config(config);
    let worker = WorkerBuilder::new("worker")
        .backend(storage.clone().poll_with_interval(Duration::from_millis(1)))
        .concurrency(BATCH)
        .build(send);
    let working = tokio::spawn(worker.run());
    let began = Instant::now();
    let mut recording = storage;
    for first in (0..jobs).step_by(BATCH) {
        recording.push_bulk((first..jobs.min(first + BATCH)).map(message).collect()).await?;
    }
    while done(&pool).await? < jobs {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{}", jobs as f64 / began.elapsed().as_secs_f64());
    working.abort();
    Ok(())
}

async fn done(pool: &SqlitePool) -> Result<usize, BoxDynError> {
    let done: i64 =
        sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = 'Done'").fetch_one(pool).await?;
    Ok(usize::try_from(done)?)
}
