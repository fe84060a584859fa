//! A batch: messages that are recorded line by line, so that the same batch can be recorded again and goes on.

use wxsub_proto::Message;

use super::{Outbox, OutboxError, Receipt};
use crate::idempotency::{Fingerprint, IdempotencyKey, batch_client};
pub use crate::ledger::InvalidLine;
use crate::ledger::{Change, InvalidMessage, KeyKind, NewKey};

/// A named batch of messages. Each line has a key within the batch, which is kept until the batch is deleted.
#[derive(Debug, Clone)]
pub struct Batch {
    outbox: Outbox,
    client: String,
}

impl Outbox {
    /// The batch of this name. Within it, a key stands for one line.
    #[must_use]
    pub fn batch(&self, name: &str) -> Batch {
        Batch { outbox: self.clone(), client: batch_client(name) }
    }
}

impl Batch {
    /// Records a line. A line that its grant does not allow is recorded as `not_sent`.
    ///
    /// If the key is known, the receipt has the message that was recorded before. A message that was not sent, or was
    /// refused for a limit or a stale token, is replaced by a new one. So is a refused one if the content has changed.
    ///
    /// # Errors
    /// [`OutboxError::NotRecorded`] with [`KeyReused`](crate::ledger::NotRecorded::KeyReused) if the content has changed
    /// and the message may still be sent, or may have been sent.
    ///
    /// # Cancel safety
    /// The line may or may not have been recorded: record it again with the same key.
    pub async fn enqueue(&self, key: IdempotencyKey, body: Message) -> Result<Receipt, OutboxError> {
        let new = self.outbox.new_message(body)?.with_key("batch", &self.client, key, KeyKind::Batch);
        self.outbox.record(Change::Enqueue(Box::new(new))).await
    }

    /// Records a line that is not a valid message as `not_sent`. `text` is the line.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    /// As [`enqueue`](Self::enqueue).
    pub async fn record_invalid(
        &self,
        key: IdempotencyKey,
        text: &[u8],
        line: InvalidLine,
    ) -> Result<Receipt, OutboxError> {
        let fingerprint = Fingerprint::of_bytes(text);
        let invalid = InvalidMessage {
            id: self.outbox.inner.ids.message(self.outbox.inner.clock.now().wall)?,
            appid: self.outbox.app()?.appid.clone(),
            line,
            key: NewKey { client: self.client.clone(), key, fingerprint, kind: KeyKind::Batch },
        };
        self.outbox.record(Change::RecordInvalid(Box::new(invalid))).await
    }
}
