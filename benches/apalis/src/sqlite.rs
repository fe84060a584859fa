//! On SQLite, in a file in a folder.

use std::path::Path;
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteStorage};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::{BATCH, Message, message, send};

pub(crate) async fn rate(folder: &Path, jobs: usize) -> Result<f64, BoxDynError> {
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
    working.abort();
    Ok(jobs as f64 / began.elapsed().as_secs_f64())
}

async fn done(pool: &SqlitePool) -> Result<usize, BoxDynError> {
    let done: i64 =
        sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = 'Done'").fetch_one(pool).await?;
    Ok(usize::try_from(done)?)
}
