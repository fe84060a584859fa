//! The ledger, a SQLite file or a database; the database of the application. Databases can be killed, too.

use std::error::Error;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use wxsub_outbox::Ledger;
use wxsub_outbox::inbox::{MYSQL_TABLE, POSTGRES_TABLE};
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};
use wxsub_test_support::{Mariadb, Postgres};

use super::orders::pause;
use super::plan::Fault;

/// The URL, if it is one of PostgreSQL.
pub(super) fn url(database: &Path) -> Option<&str> {
    database.to_str().filter(|text| text.starts_with("postgres://"))
}

/// The URL, if it is one of a MariaDB.
pub(super) fn mariadb_url(database: &Path) -> Option<&str> {
    database.to_str().filter(|text| text.starts_with("mysql://"))
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
        pause(5).await;
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
    // There is no table before the first run.
    let _ = connection.execute(&change, []);
}

/// There is no table before the first run.
async fn execute(ledger: &Path, sql: &str) {
    let Some(url) = url(ledger) else { return };
    let _ = connect(url).await.unwrap().batch_execute(sql).await;
}

pub(super) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The name of the application's database.
const SHOP: &str = "shop";

/// A transaction that deletes rows from an inbox in PostgreSQL waits before or after that, as long as a [`DeletionLock`] is held.
const WAIT_FOR_LOCK: &str = "CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
    CREATE TRIGGER wait_for_lock WHEN DELETE ON wxsub_inbox FOR EACH STATEMENT EXECUTE FUNCTION wait_for_lock()";

/// The same in MariaDB, after the first row.
const WAIT_FOR_LOCK_IN_MARIADB: &str = "CREATE TRIGGER wait_for_lock AFTER DELETE ON wxsub_inbox FOR EACH ROW
    BEGIN DO GET_LOCK('deletion', 60); DO RELEASE_LOCK('deletion'); END";

/// A private database server that can be killed.
pub(super) enum Database {
    /// It has the ledger, and the database of the application.
    Postgres(Postgres),
    /// It has the database of the application.
    Mariadb(Mariadb),
}

impl Database {
    /// With the tables of the ledger and of the application.
    pub(super) async fn start_postgres() -> Self {
        let postgres = Postgres::start();
        drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
        let sql = postgres.sql().await;
        sql.batch_execute(&WAIT_FOR_LOCK.replace("WHEN", "BEFORE")).await.unwrap();
        sql.batch_execute(&format!("CREATE DATABASE {SHOP}")).await.unwrap();
        let sql = connect(&postgres.url_of(SHOP)).await.unwrap();
        sql.batch_execute(POSTGRES_TABLE).await.unwrap();
        sql.batch_execute(&WAIT_FOR_LOCK.replace("WHEN", "AFTER")).await.unwrap();
        Self::Postgres(postgres)
    }

    /// With the table of the application. What it has committed is there after a kill.
    pub(super) async fn start_mariadb() -> Self {
        let mariadb = Mariadb::with(&["--innodb-flush-log-at-trx-commit=1"]);
        let (database, user) = (format!("CREATE DATABASE {SHOP}"), "CREATE USER wxsub");
        let (rights, choose) = (format!("GRANT ALL ON {SHOP}.* TO wxsub"), format!("USE {SHOP}"));
        // A trigger runs as the administrator, so its state is hidden otherwise.
        let sees_all = "GRANT PROCESS ON *.* TO wxsub";
        mariadb
            .run(&[&database, user, &rights, sees_all, &choose, MYSQL_TABLE, WAIT_FOR_LOCK_IN_MARIADB])
            .await;
        Self::Mariadb(mariadb)
    }

    /// The URL of the ledger, if it is there.
    pub(super) fn ledger(&self) -> Option<PathBuf> {
        match self {
            Self::Postgres(postgres) => Some(postgres.url().into()),
            Self::Mariadb(_) => None,
        }
    }

    /// The URL of the application's database.
    pub(super) fn inbox(&self) -> PathBuf {
        match self {
            Self::Postgres(postgres) => postgres.url_of(SHOP).into(),
            Self::Mariadb(mariadb) => mariadb.url("wxsub", SHOP).into(),
        }
    }

    /// Ends it with all of its sessions, and starts it again.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Postgres(postgres) => {
                postgres.stop_immediately();
                postgres.start_again();
            }
            Self::Mariadb(mariadb) => {
                mariadb.kill();
                mariadb.start_again();
            }
        }
    }

    /// The process of a MariaDB, which the worker can kill.
    pub(super) fn target(&self) -> Option<u32> {
        match self {
            Self::Postgres(_) => None,
            Self::Mariadb(mariadb) => Some(mariadb.pid()),
        }
    }

    /// Until the worker has killed it.
    pub(super) async fn killed(&mut self) {
        let Self::Mariadb(mariadb) = self else { return pending().await };
        while !mariadb.has_ended() {
            pause(5).await;
        }
    }
}

/// Keeps the deletion of rows of an inbox from being committed, until it is dropped.
pub(super) struct DeletionLock {
    is_awaited: Arc<Notify>,
    _holder: JoinSet<()>,
}

impl DeletionLock {
    /// In the database with this URL.
    pub(super) async fn take(url: &Path) -> Self {
        let is_awaited = Arc::new(Notify::new());
        let (awaited, mut holder) = (Arc::clone(&is_awaited), JoinSet::new());
        if let Some(url) = mariadb_url(url) {
            let mut sql = Conn::from_url(url).await.unwrap();
            sql.query_drop("DO GET_LOCK('deletion', 60)").await.unwrap();
            let waiting = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock'";
            holder.spawn(async move {
                while sql.query_first::<u32, _>(waiting).await.unwrap() == Some(0) {
                    pause(5).await;
                }
                awaited.notify_one();
                pending::<()>().await;
            });
        } else {
            let sql = connect(url.to_str().unwrap()).await.unwrap();
            sql.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
            let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            holder.spawn(async move {
                while sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                    pause(5).await;
                }
                awaited.notify_one();
                pending::<()>().await;
            });
        }
        Self { is_awaited, _holder: holder }
    }

    /// Until a transaction waits for it.
    pub(super) async fn awaited(&self) {
        self.is_awaited.notified().await;
    }
}
