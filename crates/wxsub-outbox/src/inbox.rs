//! The inbox: a table in the application's own database. The application inserts a message in the transaction of its
//! own change, and the control server moves it to the outbox.
//!
//! An insert needs `id`, `appid` and `message`. The `id` takes the place of an idempotency key: the same id again is the
//! same message. A message that breaks a rule becomes `not_sent`, with the rules named.

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use crate::id::MessageId;
use crate::outbox::OutboxMessage;

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
VALUES ($1, $2, $3::TEXT::JSONB, $4, $5, $6) ON CONFLICT (id) DO NOTHING";

/// Inserts a row in MySQL and MariaDB. The parameters are the members of [`InboxRow`] in their order.
pub const MYSQL_INSERT: &str = "\
INSERT INTO wxsub_inbox (id, appid, message, send_at_ms, expires_at_ms, priority)
VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE id = id";

/// A row of `wxsub_inbox`, to be inserted in the application's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an application inserts every column")]
pub struct InboxRow {
    /// Identifies the message in the outbox, too.
    pub id: String,
    /// The app that sends it.
    pub appid: String,
    /// What is posted, as JSON with Weixin's field names.
    pub message: String,
    /// The earliest time for the first attempt, in milliseconds since 1970 (UTC). At once if absent.
    pub send_at_ms: Option<i64>,
    /// No attempt begins from here on. 7 days after `send_at_ms` if absent.
    pub expires_at_ms: Option<i64>,
    /// `high`, `normal` or `low`.
    pub priority: &'static str,
}

impl OutboxMessage {
    /// The row by which the message gets to the outbox through an [inbox](self). It has no idempotency key: its id is one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wxsub_core::clock::{Clock, SystemClock};
    /// use wxsub_core::proto::{Grant, Message};
    /// use wxsub_outbox::{OutboxMessage, id::IdGenerator, inbox};
    ///
    /// let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
    /// let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
    /// let id = IdGenerator::new(None).message(SystemClock::new().now().wall)?;
    /// let row = OutboxMessage::new(message).inbox_row(id, &"wx0123456789abcdef".parse()?);
    /// // In the transaction of the order: execute(inbox::POSTGRES_INSERT, row.id, row.appid, …)
    /// # let _ = (row, inbox::POSTGRES_INSERT);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn inbox_row(&self, id: MessageId, appid: &AppId) -> InboxRow {
        let millis = |at: UnixMillis| i64::try_from(at.get()).unwrap_or(i64::MAX);
        InboxRow {
            id: id.to_string(),
            appid: appid.as_str().to_owned(),
            message: String::from_utf8_lossy(&self.message.to_json()).into_owned(),
            send_at_ms: self.send_at.map(millis),
            expires_at_ms: self.expires_at.map(millis),
            priority: self.priority.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use wxsub_proto::{Grant, Message};

    use super::*;
    use crate::state::Priority;

    #[test]
    fn a_row_holds_the_message_as_weixin_gets_it() {
        let grant = Grant::assume_verified("o", "T", 7).unwrap();
        let message = Message::builder(grant).title("包裹").content("到了").build().unwrap();
        let outbox_message = OutboxMessage::new(message.clone()).priority(Priority::High);
        let row = outbox_message
            .send_at(UnixMillis::new(5))
            .inbox_row(MessageId::from_bytes([1; 16]), &"wx1".parse().unwrap());
        assert_eq!(row.id, "01010101-0101-0101-0101-010101010101");
        assert_eq!((row.send_at_ms, row.expires_at_ms, row.priority), (Some(5), None, "high"));
        assert_eq!(serde_json::from_str::<Message>(&row.message).unwrap(), message);
    }
}
