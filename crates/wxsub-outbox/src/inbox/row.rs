use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use crate::id::MessageId;
use crate::outbox::OutboxMessage;

/// The longest `message`, in bytes. A valid one with a long URL takes less than half of it.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// A row of `wxsub_inbox`: the application inserts it in its transaction, the copier reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "every column is inserted and read")]
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
    pub priority: String,
}

impl OutboxMessage {
    /// The row by which the message gets to the outbox through an [inbox](crate::inbox). It has no idempotency key: its id is one.
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
            priority: self.priority.as_str().to_owned(),
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
        assert_eq!((row.send_at_ms, row.expires_at_ms, row.priority.as_str()), (Some(5), None, "high"));
        assert_eq!(serde_json::from_str::<Message>(&row.message).unwrap(), message);
    }
}
