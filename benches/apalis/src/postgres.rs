//! On PostgreSQL, in an empty database.

use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use sqlx::postgres::PgPoolOptions;

use crate::{BATCH, Message, message, send};

pub(crate) async fn rate(url: &str, jobs: usize) -> Result<f64, BoxDynError> {
    let pool = PgPoolOptions::new().max_connections(4).connect(url).await?;
    PostgresStorage::<()>::setup(&pool).await?;
    let config = Config::default().queue("messages").batch_size(BATCH);
    let storage = PostgresStorage::<Message>::new(&pool).with_config(config);
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

async fn done(pool: &PgPool) -> Result<usize, BoxDynError> {
    let done: i64 =
        sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'").fetch_one(pool).await?;
    Ok(usize::try_from(done)?)
}
