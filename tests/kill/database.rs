//! The ledger: a SQLite file, or a database that can be killed, too.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::Ledger;
use wxsub_outbox::inbox::POSTGRES_TABLE;
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

use super::plan::Fault;
use super::server::Postgres;

/// The URL, if the ledger is no file.
pub(super) fn url(ledger: &Path) -> Option<&str> {
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
    let _ = connect(url).await.unwrap().batch_execute(sql).await;
}

pub(super) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The application's database beside that of the ledger.
const OTHER: &str = "shop";

/// A transaction that deletes rows from the inbox of the ledger waits as long as a [`DeletionLock`] is held.
const WAIT_FOR_LOCK: &str = "CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
    CREATE TRIGGER wait_for_lock BEFORE DELETE ON wxsub_inbox FOR EACH STATEMENT EXECUTE FUNCTION wait_for_lock()";

/// Makes the tables of the ledger and of the application.
pub(super) async fn make_tables(postgres: &Postgres) {
    drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
    let sql = postgres.sql().await;
    sql.batch_execute(WAIT_FOR_LOCK).await.unwrap();
    sql.batch_execute(&format!("CREATE DATABASE {OTHER}")).await.unwrap();
    connect(&other(postgres)).await.unwrap().batch_execute(POSTGRES_TABLE).await.unwrap();
}

/// The URL of the application's database beside that of the ledger.
pub(super) fn other(postgres: &Postgres) -> String {
    postgres.url_of(OTHER)
}

/// Keeps rows of the ledger's inbox from being deleted, until it is dropped. They are copied meanwhile, and nothing is committed.
pub(super) struct DeletionLock(Client);

impl DeletionLock {
    pub(super) async fn take(postgres: &Postgres) -> Self {
        let sql = postgres.sql().await;
        sql.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
        Self(sql)
    }

    /// Until a transaction waits for it.
    pub(super) async fn awaited(&self) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        let clock = SystemClock::new();
        while self.0.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            clock.sleep_until(clock.now().mono + Duration::from_millis(5)).await;
        }
    }
}
