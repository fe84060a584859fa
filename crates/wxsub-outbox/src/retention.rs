//! How long rows are kept.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;

use crate::grant::StoredGrant;
use crate::message::StoredMessage;
use crate::state::{GrantState, MessageState};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long rows are kept after their end. A ledger deletes them in small batches.
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
}

impl Default for Retention {
    fn default() -> Self {
        Self { sent: DAY * 30, not_sent: DAY * 90, decided: DAY * 365, key: DAY * 7 }
    }
}

impl Retention {
    /// From when on a message may be deleted; `None` while it is not final or undecided.
    #[must_use]
    pub fn message_until(&self, message: &StoredMessage) -> Option<UnixMillis> {
        let kept = match message.state {
            MessageState::Queued | MessageState::Attempting => return None,
            MessageState::Sent => self.sent,
            MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => self.not_sent,
            MessageState::MaybeSent => self.decided,
        };
        end(message).map(|end| end + kept)
    }

    /// From when on an idempotency key may be deleted. `chain` is its message, and the messages sent in its place.
    #[must_use]
    pub fn key_until<'a>(&self, chain: impl IntoIterator<Item = &'a StoredMessage>) -> Option<UnixMillis> {
        let ends: Option<Vec<_>> = chain.into_iter().map(end).collect();
        ends?.into_iter().max().map(|end| end + self.key)
    }

    /// From when on a grant may be deleted: only if no message can use it, and only when its callback is worth nothing
    /// any more. A replayed callback would make a second grant otherwise.
    #[must_use]
    pub fn grant_until(&self, grant: &StoredGrant) -> Option<UnixMillis> {
        matches!(grant.state, GrantState::Used | GrantState::Void).then_some(grant.callback_expires_at)
    }
}

/// When nothing more could happen to a message.
fn end(message: &StoredMessage) -> Option<UnixMillis> {
    match message.state {
        MessageState::Queued | MessageState::Attempting => None,
        MessageState::MaybeSent => message.decision.as_ref().map(|decided| decided.at),
        _ => message.settled_at,
    }
}
