//! The ledger: a SQLite file, or a database that can be killed, too.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::NoTls;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

use super::plan::Fault;

/// The URL, if the ledger is no file.
fn url(ledger: &Path) -> Option<&str> {
    ledger.to_str().filter(|text| text.starts_with("postgres://"))
}

/// Opens the ledger to write. The attempts of the process before become `maybe_sent`: of a file when it is opened, in a database
/// when its lease is over.
pub(super) async fn open(ledger: &Path) -> Box<dyn Ledger> {
    let Some(url) = url(ledger) else {
        return Box::new(SqliteLedger::open(ledger, SqliteOptions::new()).await.unwrap());
    };
    loop {
        match take_over(url).await {
            Ok(ledger) => return Box::new(ledger),
            // It was killed, and starts again.
            Err(error) => eprintln!("{error}"),
        }
        let clock = SystemClock::new();
        clock.sleep_until(clock.now().mono + Duration::from_millis(100)).await;
    }
}

async fn take_over(url: &str) -> Result<PostgresLedger, Box<dyn Error>> {
    let ledger = PostgresLedger::connect(PostgresOptions::new(url)).await?;
    for change in [Change::MarkGone(Gone::LeaseOver), Change::Reclaim(usize::MAX)] {
        ledger.commit(vec![change]).await?.remove(0)?;
    }
    Ok(ledger)
}

/// Opens the ledger to read, and gives what is wrong with it.
pub(super) async fn check(ledger: &Path) -> (Box<dyn Ledger>, Vec<String>) {
    let Some(url) = url(ledger) else {
        let problems = SqliteLedger::check(ledger).await.unwrap();
        return (Box::new(SqliteLedger::open_read_only(ledger).await.unwrap()), problems);
    };
    let problems = PostgresLedger::check(PostgresOptions::new(url)).await.unwrap();
    (Box::new(PostgresLedger::connect(PostgresOptions::new(url)).await.unwrap()), problems)
}

/// As if the last heartbeat of every process were longer ago than a lease.
pub(super) async fn end_leases(ledger: &Path) {
    execute(ledger, "UPDATE wxsub_worker SET beat_ms = beat_ms - 61000").await;
}

/// Does to the attempts of the process before what must not be done.
pub(super) async fn falsify(ledger: &Path, fault: Fault) {
    let state = if fault == Fault::Requeue { "queued" } else { "sent" };
    let change =
        format!("UPDATE wxsub_message SET state = '{state}', worker = NULL WHERE state = 'attempting'");
    if url(ledger).is_some() {
        return execute(ledger, &change).await;
    }
    let Ok(connection) = rusqlite::Connection::open(ledger) else { return };
    // There is no table before the first life.
    let _ = connection.execute(&change, []);
}

/// There is no table before the first life.
async fn execute(ledger: &Path, sql: &str) {
    let Some(url) = url(ledger) else { return };
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let _ = client.batch_execute(sql).await;
}
