//! The application's own table: an application inserts rows, and a copier can be killed around its commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rusqlite::{Connection, ErrorCode};
use wxsub_mysql::{MysqlInbox, MysqlOptions};
use wxsub_outbox::OutboxMessage;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::inbox::{Inbox, InboxError, InboxRow, MYSQL_INSERT, POSTGRES_INSERT, Rejected};
use wxsub_postgres::{PostgresInbox, PostgresOptions};

use super::arguments::WorkerRun;
use super::database;
use super::orders::{ROLLED_BACK, appid, is_own_row, message};
use super::plan::{Fault, KillSwitch, Point};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS wxsub_inbox (id TEXT PRIMARY KEY, appid TEXT, message TEXT, error TEXT)";
const INSERT: &str = "INSERT OR IGNORE INTO wxsub_inbox (id, appid, message) VALUES (?, ?, ?)";
const COUNT: &str = "SELECT count(*) FROM wxsub_inbox";

/// Where the application inserts its rows.
#[derive(Debug)]
pub(super) enum Application {
    Sqlite(PathBuf),
    Postgres {
        /// The database of the ledger, whose worker moves the rows.
        own: String,
        /// Another one, which is copied.
        other: String,
    },
    /// The URL of a MariaDB.
    Mariadb(String),
}

impl Application {
    pub(super) fn of(run: &WorkerRun) -> Self {
        if let Some(url) = database::mariadb_url(&run.inbox) {
            return Self::Mariadb(url.to_owned());
        }
        match (database::url(&run.ledger), database::url(&run.inbox)) {
            (Some(own), Some(other)) => Self::Postgres { own: own.to_owned(), other: other.to_owned() },
            _ => Self::Sqlite(run.inbox.clone()),
        }
    }

    /// Two transactions for an order: one that is rolled back, and one that is committed. False if they must be repeated: a copier
    /// has the table, or the database was killed.
    pub(super) async fn insert(&self, order: u32) -> bool {
        let rows = [(row(ROLLED_BACK + order), "ROLLBACK"), (row(order), "COMMIT")];
        match self {
            Self::Sqlite(file) => insert(file, rows),
            Self::Postgres { own, other } => {
                insert_at(if is_own_row(order) { own } else { other }, rows).await.is_ok()
            }
            Self::Mariadb(url) => insert_into_mariadb(url, rows).await.is_ok(),
        }
    }

    /// Whether all rows were copied or moved.
    pub(super) async fn is_empty(&self) -> bool {
        match self {
            Self::Sqlite(file) => open(file).query_row(COUNT, [], |row| row.get::<_, u32>(0)).unwrap() == 0,
            Self::Postgres { own, other } => {
                matches!((count(own).await, count(other).await), (Ok(0), Ok(0)))
            }
            Self::Mariadb(url) => matches!(count_in_mariadb(url).await, Ok(Some(0))),
        }
    }

    /// The copier's side of the table.
    pub(super) fn inbox(&self, kill_switch: Arc<KillSwitch>, fault: Option<Fault>) -> CrashInbox {
        let inbox: Box<dyn Inbox> = match self {
            Self::Sqlite(file) => Box::new(SqliteInbox { connection: open(file), file: file.clone() }),
            Self::Postgres { other, .. } => {
                Box::new(PostgresInbox::new(&PostgresOptions::new(other)).unwrap())
            }
            Self::Mariadb(url) => Box::new(MysqlInbox::new(MysqlOptions::new(url).unwrap())),
        };
        CrashInbox { inbox, kill_switch, fault }
    }
}

fn row(order: u32) -> InboxRow {
    let id = MessageId::from_bytes(u128::from(order).to_be_bytes());
    OutboxMessage::new(message(order)).inbox_row(id, &appid())
}

/// Opens the application's database.
fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    // Copier and application share one thread: they must not wait for each other here.
    connection.busy_timeout(Duration::ZERO).unwrap();
    // Without it, the deletion of the journal is not synced: after a power loss a committed transaction is rolled back.
    connection.pragma_update(None, "synchronous", "EXTRA").unwrap();
    connection.execute(TABLE, []).unwrap();
    connection
}

/// Each row, and the statement that ends its transaction.
type Rows = [(InboxRow, &'static str); 2];

fn insert(file: &Path, rows: Rows) -> bool {
    let connection = open(file);
    for (row, end) in rows {
        connection.execute_batch("BEGIN").unwrap();
        match connection.execute(INSERT, (row.id, row.appid, row.message)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return false,
            inserted => drop(inserted.unwrap()),
        }
        connection.execute_batch(end).unwrap();
    }
    true
}

async fn insert_at(url: &str, rows: Rows) -> Result<(), tokio_postgres::Error> {
    let client = database::connect(url).await?;
    for (row, end) in rows {
        let InboxRow { id, appid, message, send_at_ms, expires_at_ms, priority } = row;
        client.batch_execute("BEGIN").await?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&id, &appid, &message, &send_at_ms, &expires_at_ms, &priority];
        client.execute(POSTGRES_INSERT, &values).await?;
        client.batch_execute(end).await?;
    }
    Ok(())
}

async fn count(url: &str) -> Result<i64, tokio_postgres::Error> {
    Ok(database::connect(url).await?.query_one(COUNT, &[]).await?.get(0))
}

async fn insert_into_mariadb(url: &str, rows: Rows) -> Result<(), mysql_async::Error> {
    let mut connection = Conn::from_url(url).await?;
    for (row, end) in rows {
        let InboxRow { id, appid, message, send_at_ms, expires_at_ms, priority } = row;
        connection.query_drop("BEGIN").await?;
        let values = (id, appid, message, send_at_ms, expires_at_ms, priority);
        connection.exec_drop(MYSQL_INSERT, values).await?;
        connection.query_drop(end).await?;
    }
    connection.disconnect().await
}

async fn count_in_mariadb(url: &str) -> Result<Option<u64>, mysql_async::Error> {
    Conn::from_url(url).await?.query_first(COUNT).await
}

/// An inbox whose copier can be killed before and after it deletes rows.
#[derive(Debug)]
pub(super) struct CrashInbox {
    inbox: Box<dyn Inbox>,
    kill_switch: Arc<KillSwitch>,
    fault: Option<Fault>,
}

#[async_trait]
impl Inbox for CrashInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        let rows = self.inbox.read(limit).await?;
        if self.fault == Some(Fault::DeleteFirst) && !rows.is_empty() {
            self.inbox.finish(rows.iter().map(|row| row.id.clone()).collect(), Vec::new()).await?;
        }
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        assert_eq!(rejected, [], "a row was rejected");
        self.kill_switch.pass(Point::BeforeDelete);
        if self.fault != Some(Fault::DeleteFirst) {
            self.inbox.finish(copied, rejected).await?;
        }
        self.kill_switch.pass(Point::AfterDelete);
        Ok(())
    }
}

#[derive(Debug)]
struct SqliteInbox {
    connection: Connection,
    file: PathBuf,
}

impl SqliteInbox {
    fn rows(&self, limit: usize) -> rusqlite::Result<Vec<InboxRow>> {
        let select = format!("SELECT id, appid, message FROM wxsub_inbox WHERE error IS NULL LIMIT {limit}");
        let mut statement = self.connection.prepare(&select)?;
        let row_of = |row: &rusqlite::Row<'_>| {
            Ok(InboxRow {
                id: row.get(0)?,
                appid: row.get(1)?,
                message: row.get(2)?,
                send_at_ms: None,
                expires_at_ms: None,
                priority: "normal".to_owned(),
            })
        };
        statement.query_map([], row_of)?.collect()
    }
}

#[async_trait]
impl Inbox for SqliteInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        // A new connection ends a transaction that is open.
        self.connection = open(&self.file);
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let rows = self.rows(limit).unwrap();
        if rows.is_empty() {
            self.connection.execute_batch("COMMIT").unwrap();
        }
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, _: Vec<Rejected>) -> Result<(), InboxError> {
        for id in copied {
            self.connection.execute("DELETE FROM wxsub_inbox WHERE id = ?", [id]).unwrap();
        }
        self.connection.execute_batch("COMMIT").unwrap();
        Ok(())
    }
}
