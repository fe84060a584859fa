//! The table of the application: read and lock, then delete.

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};
use wxsub_outbox::inbox::{Inbox, InboxError, InboxRow, MAX_MESSAGE_BYTES, Rejected};

use crate::connection;
use crate::error::inbox_error;
use crate::options::MysqlOptions;

/// The rights that the user of an inbox needs, on the application's database. Replace the name of the user.
pub const GRANTS: &str = "GRANT SELECT, DELETE, UPDATE (error) ON wxsub_inbox TO 'wxsub'@'%'";

/// The inbox in a table `wxsub_inbox` of MySQL or MariaDB. It has one connection, and makes a new one after a failure.
#[derive(Debug)]
pub struct MysqlInbox {
    options: MysqlOptions,
    /// None while a call uses it: a call that is dropped closes it, and the server rolls back.
    connection: Option<Conn>,
}

impl MysqlInbox {
    /// Connects, and checks version, table and rights.
    ///
    /// # Errors
    /// [`InboxError::Refused`] says what must be changed first.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub async fn connect(options: MysqlOptions) -> Result<Self, InboxError> {
        let connection = connection::open(&options).await?;
        Ok(Self { options, connection: Some(connection) })
    }

    /// The inbox, which connects with the first read.
    #[must_use]
    pub fn new(options: MysqlOptions) -> Self {
        Self { options, connection: None }
    }

    fn error(&self, error: &Error) -> InboxError {
        inbox_error(&self.options.place(), error)
    }
}

#[async_trait]
impl Inbox for MysqlInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::open(&self.options).await?,
        };
        let rows = read(&mut connection, limit).await.map_err(|error| self.error(&error))?;
        self.connection = Some(connection);
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        let lost = || InboxError::Unavailable("there is no open transaction".to_owned());
        let mut connection = self.connection.take().ok_or_else(lost)?;
        finish(&mut connection, copied, rejected).await.map_err(|error| self.error(&error))?;
        self.connection = Some(connection);
        Ok(())
    }
}

async fn read(connection: &mut Conn, limit: usize) -> Result<Vec<InboxRow>, Error> {
    connection.query_drop("ROLLBACK").await?;
    connection.query_drop("START TRANSACTION").await?;
    // Any other order would lock all rows to sort them.
    let characters = MAX_MESSAGE_BYTES + 1;
    let select = format!(
        "SELECT id, appid, LEFT(message, {characters}), send_at_ms, expires_at_ms, CAST(priority AS CHAR)
         FROM wxsub_inbox WHERE error IS NULL ORDER BY id LIMIT {limit} FOR UPDATE SKIP LOCKED"
    );
    let rows: Vec<Row> = connection.exec(select, ()).await?;
    if rows.is_empty() {
        connection.query_drop("COMMIT").await?;
    }
    Ok(rows.into_iter().map(row_of).collect())
}

fn row_of(row: Row) -> InboxRow {
    let mut columns = row.unwrap_raw().into_iter().flatten();
    let mut next = || columns.next().unwrap_or(Value::NULL);
    let text = |value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    };
    let millis = |value| match value {
        Value::Int(number) => Some(number),
        // Of another type of column; a time that is no number breaks the rule for it.
        Value::UInt(number) => Some(i64::try_from(number).unwrap_or(i64::MAX)),
        Value::NULL => None,
        _ => Some(-1),
    };
    InboxRow {
        id: text(next()),
        appid: text(next()),
        message: text(next()),
        send_at_ms: millis(next()),
        expires_at_ms: millis(next()),
        priority: text(next()),
    }
}

async fn finish(connection: &mut Conn, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), Error> {
    // Each row by itself: for a list of ids, the server may scan a small table, and would wait for the rows of others.
    connection.exec_batch("DELETE FROM wxsub_inbox WHERE id = ?", copied.into_iter().map(|id| (id,))).await?;
    let rejected = rejected.into_iter().map(|Rejected { id, error }| (error, id));
    connection.exec_batch("UPDATE wxsub_inbox SET error = ? WHERE id = ?", rejected).await?;
    connection.query_drop("COMMIT").await
}
