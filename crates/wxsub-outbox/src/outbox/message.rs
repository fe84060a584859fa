use derive_setters::Setters;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::Message;

use crate::id::MessageId;
use crate::idempotency::IdempotencyKey;
use crate::ledger::Recorded;
use crate::message::StoredMessage;
use crate::state::Priority;

/// A message to record: what Weixin gets, and when.
#[derive(Debug, Clone, PartialEq, Eq, Setters)]
#[setters(strip_option)]
#[must_use]
pub struct OutboxMessage {
    #[setters(skip)]
    pub(crate) message: Message,
    /// Not before this time.
    pub(crate) send_at: Option<UnixMillis>,
    /// No attempt begins from this time on. 7 days after `send_at` unless set otherwise.
    pub(crate) expires_at: Option<UnixMillis>,
    /// Before or after other due messages of the app.
    pub(crate) priority: Priority,
    /// Recording it again with the same key gives the same message.
    pub(crate) idempotency_key: Option<IdempotencyKey>,
}

impl OutboxMessage {
    /// To be sent as soon as possible, and no later than in 7 days.
    pub fn new(message: Message) -> Self {
        Self { message, send_at: None, expires_at: None, priority: Priority::Normal, idempotency_key: None }
    }
}

/// A message that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub(super) Recorded);

impl Receipt {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.message().id
    }

    /// The message: after [`enqueue`](crate::Outbox::enqueue) as it was recorded, after [`send`](crate::Outbox::send) as
    /// it ended, and as it is now if its key was used before.
    #[must_use]
    pub fn message(&self) -> &StoredMessage {
        self.0.message()
    }

    /// Whether its key was used before, so that nothing new was recorded.
    #[must_use]
    pub fn replayed(&self) -> bool {
        matches!(self.0, Recorded::Replayed(_))
    }
}
