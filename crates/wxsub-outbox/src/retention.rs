//! How long rows are kept.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;

use crate::message::StoredMessage;
use crate::state::MessageState;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an idempotency key is kept after the end of its message, unless set otherwise.
pub(crate) const DEFAULT_KEY_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the id of an inbox's row is known after the row was recorded, at least.
pub(crate) const INBOX_KEY_RETENTION: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long rows are kept after their end. A ledger deletes them in small batches.
///
/// The row of a message is kept at least as long as the key that stands for it. A grant is deleted only if it is used or
/// void, and not before its callback expires: a callback that is recorded again would make a second grant otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a configuration sets each of them")]
pub struct Retention {
    /// Messages that were sent.
    pub sent: Duration,
    /// Messages that were refused, certainly not sent or cancelled.
    pub not_sent: Duration,
    /// `maybe_sent` messages, after their decision.
    pub decided: Duration,
    /// Idempotency keys, after the end of their message and of those sent in its place.
    pub key: Duration,
    /// Grants, after they were recorded.
    pub grant: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            sent: DAY * 30,
            not_sent: DAY * 90,
            decided: DAY * 365,
            key: DEFAULT_KEY_RETENTION,
            grant: DAY * 90,
        }
    }
}

impl Retention {
    /// How long a message in this final state is kept after its end.
    #[must_use]
    pub fn of_state(&self, state: MessageState) -> Duration {
        match state {
            MessageState::Sent => self.sent,
            MessageState::MaybeSent => self.decided,
            MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => self.not_sent,
            MessageState::Queued | MessageState::Attempting => Duration::MAX,
        }
    }

    /// From when on an idempotency key may be deleted; `None` while one of its messages can still change. `chain` is its
    /// message, and the messages sent in its place.
    #[must_use]
    pub fn key_until<'a>(&self, chain: impl IntoIterator<Item = &'a StoredMessage>) -> Option<UnixMillis> {
        let ends: Option<Vec<_>> = chain.into_iter().map(StoredMessage::ended_at).collect();
        Some(ends?.into_iter().max().unwrap_or_default() + self.key)
    }
}
