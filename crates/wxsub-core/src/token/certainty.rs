//! Whether the current token is known to work, as far as our own calls and the store show it.

use super::CachedToken;
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};

/// Whether the current token is known to work.
#[derive(Debug, Default)]
pub(super) struct Certainty {
    pub(super) in_doubt: Option<InDoubt>,
    /// Start of the last attempt whose response was lost.
    pub(super) last_lost: Option<MonotonicInstant>,
    /// End of our last call with unknown effect: Weixin may have carried it out after an earlier call of a peer. Only a
    /// token that was requested later confirms which token works.
    pub(super) unconfirmed_call_at: Option<MonotonicInstant>,
}

/// Since when the current token is in doubt.
#[derive(Debug, Clone, Copy)]
pub(super) struct InDoubt {
    /// Start of the first attempt since the last success whose response was lost.
    pub(super) since: ClockReading,
    /// Whether that attempt was a peer's, known from the marker in the store.
    pub(super) is_from_peer: bool,
}

impl Certainty {
    /// Records an attempt whose response was lost, or whose token arrived too late.
    pub(super) fn record_lost_response(&mut self, started_at: ClockReading) {
        self.in_doubt.get_or_insert(InDoubt { since: started_at, is_from_peer: false });
        self.last_lost = Some(started_at.mono);
    }

    /// Returns whether this token was requested after the unconfirmed call, which proves that it works.
    pub(super) fn is_confirmed_by(&self, token: &CachedToken, now: ClockReading) -> bool {
        self.unconfirmed_call_at.is_none_or(|ended| {
            token.has_known_age() && now.wall.since(token.requested_at()) < now.mono.duration_since(ended)
        })
    }

    /// Returns since when the unconfirmed call leaves the current token in doubt.
    pub(super) fn unconfirmed_since(&self, now: ClockReading) -> Option<UnixMillis> {
        self.unconfirmed_call_at.map(|ended| now.wall.before(now.mono.duration_since(ended)))
    }
}
