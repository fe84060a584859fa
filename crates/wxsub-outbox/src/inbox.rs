//! The inbox: a table in the application's own database. The application inserts a message in the transaction of its
//! own change, and the control server moves it to the outbox.
//!
//! An insert needs `id`, `appid` and `message`. The `id` takes the place of an idempotency key: the same id again is the
//! same message, for a year. A message that breaks a rule becomes `not_sent`, with the rules named.
//!
//! The ledger in PostgreSQL has an inbox of its own. The worker moves its rows: each is recorded and deleted in one transaction.
//!
//! For a table in another database, an [`InboxCopier`] reads committed rows, records them in the ledger, and then deletes them.
//! If it ends in between, it reads the rows again, and their ids show that they are recorded. It keeps no position up to which
//! rows were copied: a row with a lower id may be committed later.

mod copier;
mod decision;
mod mover;
mod row;
mod status;

pub use copier::InboxCopier;
pub use decision::decide;
pub(crate) use mover::move_rows;
pub use row::{InboxRow, MAX_MESSAGE_BYTES};
pub use status::InboxStatus;

use std::fmt;

use async_trait::async_trait;
use wxsub_proto::{Language, LocalizedText};

use crate::ledger::LedgerError;
pub use crate::ledger::Rejected;

/// Makes the table in PostgreSQL.
pub const POSTGRES_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS wxsub_inbox (
    id            CHAR(36) PRIMARY KEY,
    appid         VARCHAR(64) NOT NULL,
    message       JSONB NOT NULL,
    send_at_ms    BIGINT,
    expires_at_ms BIGINT,
    priority      VARCHAR(6) NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
    created_at_ms BIGINT NOT NULL DEFAULT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT,
    error         TEXT
)";

/// Makes the table in MySQL and MariaDB.
pub const MYSQL_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS wxsub_inbox (
    id            CHAR(36) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
    appid         VARCHAR(64) NOT NULL,
    message       JSON NOT NULL,
    send_at_ms    BIGINT,
    expires_at_ms BIGINT,
    priority      ENUM('high', 'normal', 'low') NOT NULL DEFAULT 'normal',
    created_at_ms BIGINT NOT NULL DEFAULT (CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED)),
    error         TEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4";

/// Inserts a row in PostgreSQL. The parameters are the members of [`InboxRow`] in their order.
pub const POSTGRES_INSERT: &str = "\
INSERT INTO wxsub_inbox (id, appid, message, send_at_ms, expires_at_ms, priority)
VALUES ($1, $2, $3::TEXT::JSONB, $4, $5, $6) ON CONFLICT DO NOTHING";

/// Inserts a row in MySQL and MariaDB. The parameters are the members of [`InboxRow`] in their order.
pub const MYSQL_INSERT: &str = "\
INSERT INTO wxsub_inbox (id, appid, message, send_at_ms, expires_at_ms, priority)
VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE id = id";

/// What the copier does, on no rows, in PostgreSQL, MySQL and MariaDB: it fails if the table, a column or a right is missing.
pub const CHECKS: [&str; 3] = [
    "SELECT id, appid, message, send_at_ms, expires_at_ms, priority FROM wxsub_inbox
     WHERE id = '' AND error IS NULL FOR UPDATE SKIP LOCKED",
    "UPDATE wxsub_inbox SET error = NULL WHERE id = ''",
    "DELETE FROM wxsub_inbox WHERE id = ''",
];

/// The application's table, as the copier uses it. One value is one connection.
///
/// A transaction is open from a [`read`](Self::read) that gives rows until the next call. It locks these rows, so that what
/// is deleted is what was read. The application is not blocked: it does not touch rows after their insert.
#[async_trait]
pub trait Inbox: Send + fmt::Debug {
    /// Reads at most so many committed rows without `error`, by their ids, and locks them. Rows that another transaction has locked are
    /// skipped. A message longer than [`MAX_MESSAGE_BYTES`] may be cut to one byte more. Ends an earlier read without
    /// changes.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`] if trying again may help, else [`InboxError::Refused`].
    ///
    /// # Cancel safety
    /// Nothing is changed. The next call makes a new connection.
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError>;

    /// Deletes rows that were read, by their ids, writes the `error` of others, and commits.
    ///
    /// # Errors
    /// As [`read`](Self::read). Then all of it was done or nothing.
    ///
    /// # Cancel safety
    /// All of it is done or nothing. The next call makes a new connection.
    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError>;
}

/// Why rows were not copied now. They stay in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// Its database cannot be reached, or does not answer in time.
    #[error("inbox unavailable: {0}; its rows stay there and are copied later")]
    Unavailable(String),
    /// Its database refuses what the copier needs. The text says what to do.
    #[error("inbox: {0}")]
    Refused(LocalizedText<String>),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl InboxError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Unavailable(why) => format!("inbox 不可用：{why}；行仍保留在表中，稍后会复制"),
            Self::Refused(why) => format!("inbox：{}", why.in_language(Language::Chinese)),
            Self::Ledger(error) => return error.localized(),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}
