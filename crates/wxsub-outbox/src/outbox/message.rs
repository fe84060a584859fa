use derive_setters::Setters;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::Message;

use crate::idempotency::IdempotencyKey;
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
