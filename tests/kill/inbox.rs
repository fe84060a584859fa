//! The application's own table, in a SQLite file: an application inserts rows, and a copier can be killed around its commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};
use wxsub_outbox::OutboxMessage;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::inbox::{Inbox, InboxError, InboxRow, Rejected};

use super::orders::{ROLLED_BACK, appid, message};
use super::plan::{Fault, Point, Trap};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS wxsub_inbox (id TEXT PRIMARY KEY, appid TEXT, message TEXT, error TEXT)";
const INSERT: &str = "INSERT OR IGNORE INTO wxsub_inbox (id, appid, message) VALUES (?, ?, ?)";

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

/// The application's transaction for an order, after one that it rolls back. False if the copier has the table.
pub(super) fn insert(file: &Path, order: u32) -> bool {
    let mut connection = open(file);
    for (order, is_committed) in [(ROLLED_BACK + order, false), (order, true)] {
        let id = MessageId::from_bytes(u128::from(order).to_be_bytes());
        let row = OutboxMessage::new(message(order)).inbox_row(id, &appid());
        let transaction = connection.transaction().unwrap();
        match transaction.execute(INSERT, (row.id, row.appid, row.message)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return false,
            inserted => drop(inserted.unwrap()),
        }
        if is_committed {
            transaction.commit().unwrap();
        } else {
            transaction.rollback().unwrap();
        }
    }
    true
}

/// Whether all rows were copied.
pub(super) fn is_empty(file: &Path) -> bool {
    let rows: u32 = open(file).query_row("SELECT COUNT(*) FROM wxsub_inbox", [], |row| row.get(0)).unwrap();
    rows == 0
}

/// The copier's side of the table.
#[derive(Debug)]
pub(super) struct CrashInbox {
    connection: Connection,
    file: PathBuf,
    trap: Arc<Trap>,
    fault: Option<Fault>,
}

impl CrashInbox {
    pub(super) fn open(file: &Path, trap: Arc<Trap>, fault: Option<Fault>) -> Self {
        Self { connection: open(file), file: file.to_owned(), trap, fault }
    }

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
impl Inbox for CrashInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        // A new connection ends a transaction that is open.
        self.connection = open(&self.file);
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let rows = self.rows(limit).unwrap();
        if self.fault == Some(Fault::DeleteFirst) {
            self.connection.execute("DELETE FROM wxsub_inbox", []).unwrap();
        }
        if rows.is_empty() || self.fault == Some(Fault::DeleteFirst) {
            self.connection.execute_batch("COMMIT").unwrap();
        }
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        assert_eq!(rejected, [], "a row was rejected");
        self.trap.pass(Point::BeforeDelete);
        for id in copied {
            self.connection.execute("DELETE FROM wxsub_inbox WHERE id = ?", [id]).unwrap();
        }
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("COMMIT").unwrap();
        }
        self.trap.pass(Point::AfterDelete);
        Ok(())
    }
}
