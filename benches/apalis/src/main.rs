//! Jobs in apalis on SQLite or PostgreSQL: `wxsub-bench-apalis FOLDER|URL JOBS` prints how many a second are recorded, run and
//! recorded as done.

mod postgres;
mod sqlite;

use apalis::prelude::BoxDynError;
use serde::{Deserialize, Serialize};

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
    let database = arguments.next().ok_or("the database is missing")?;
    let jobs: usize = arguments.next().ok_or("the number of jobs is missing")?.parse()?;
    let rate = match database.starts_with("postgres:") {
        true => postgres::rate(&database, jobs).await?,
        false => sqlite::rate(database.as_ref(), jobs).await?,
    };
    println!("{rate}");
    Ok(())
}
