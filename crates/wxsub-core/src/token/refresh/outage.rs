//! Rules for the time while the shared store is unavailable. A fetch without the store may invalidate the token of
//! peers, and they do not know it.

use std::time::Duration;

use super::RefreshState;
use super::attempt::PEER_POLL_INTERVAL;
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};
use crate::token::schedule::LEASE;
use crate::token::{Action, CachedToken, Generation, TokenError, TokenErrorKind, TokenEvent, TokenOrigin};

/// Whether the store is unavailable, and whether it knows the current token.
#[derive(Debug, Default)]
pub(super) struct StoreOutage {
    /// Since when the store is unavailable.
    unavailable_since: Option<MonotonicInstant>,
    /// The highest generation known before the current token was fetched without the store. `None` if the store
    /// knows the current token.
    unleased_after: Option<Generation>,
    /// How long before expiry the next token is fetched without the store.
    lead: Duration,
}

impl StoreOutage {
    /// Starts again for a new current token.
    pub(super) fn reset(&mut self, lead: Duration) {
        self.unleased_after = None;
        self.lead = lead;
    }
}

impl RefreshState {
    /// Returns the delay until a fetch without the store is better than none. It is zero if a fetch
    /// invalidates no token.
    fn delay_until_unleased_fetch(&self, now: ClockReading) -> Duration {
        if !self.behavior.invalidates_previous {
            return Duration::ZERO;
        }
        match (&self.current, self.store_outage.unavailable_since) {
            (Some(current), _) => current.remaining(now).saturating_sub(self.store_outage.lead),
            // The last token expired or was rejected, for peers too.
            (None, _) if self.max_generation > Generation::default() => Duration::ZERO,
            // A peer that was fetching at the start of the outage has finished after this time.
            (None, since) => {
                LEASE.saturating_sub(since.map_or(Duration::ZERO, |since| now.mono.duration_since(since)))
            }
        }
    }

    pub(super) fn may_fetch_without_lease(&self, now: ClockReading) -> bool {
        self.delay_until_unleased_fetch(now).is_zero()
    }

    /// Plans the next attempt after one that failed because the store is unavailable.
    pub(super) fn on_store_unavailable(&mut self, now: ClockReading, actions: &mut Vec<Action>) {
        self.record_store_down(now, actions);
        let unleased_in = self.delay_until_unleased_fetch(now);
        let wait = self
            .jitter
            .within_percent(PEER_POLL_INTERVAL, 10)
            .min(unleased_in.max(Duration::from_millis(100)));
        self.next_attempt_at = Some(now + wait);
        if self.current.is_none() || self.pending_report.is_some() {
            self.publish_failure(TokenError::new(
                TokenErrorKind::StoreUnavailable,
                Some(unleased_in.min(LEASE)),
            ));
        }
    }

    pub(super) fn record_store_down(&mut self, now: ClockReading, actions: &mut Vec<Action>) {
        if self.store_outage.unavailable_since.is_none() {
            self.store_outage.unavailable_since = Some(now.mono);
            actions.push(Action::Emit(TokenEvent::StoreUnavailable));
        }
    }

    /// Records that the store is available. A read proves it only if the record is new, because a replica may serve
    /// old records.
    pub(super) fn record_store_up(&mut self, actions: &mut Vec<Action>) {
        if self.store_outage.unavailable_since.take().is_some() {
            actions.push(Action::Emit(TokenEvent::StoreRecovered));
        }
    }

    /// Records that the store has the current token now. If it held a peer's newer token before, Weixin may have
    /// issued that one later.
    pub(super) fn on_store_published(
        &mut self,
        now: ClockReading,
        generation: Generation,
        replaced: Generation,
    ) {
        let Some(current) = self.current.as_ref().filter(|current| current.generation() == generation) else {
            return;
        };
        let requested_at = current.requested_at();
        match self.store_outage.unleased_after.take() {
            Some(known) if replaced <= known => self.unconfirmed_call_at = None,
            Some(_) if self.behavior.invalidates_previous => self.mark_in_doubt(now, requested_at),
            _ => {}
        }
    }

    /// Records that the current token was fetched without the store. `known` is the highest generation known when
    /// the call began.
    pub(super) fn record_unleased_fetch(&mut self, now: ClockReading, known: Generation) {
        self.store_outage.unleased_after = Some(known);
        self.record_unconfirmed_call(now);
    }

    /// Records the end of a call with unknown effect. Weixin may have carried it out after an earlier
    /// call of a peer. That matters if a call invalidates the previous token.
    pub(super) fn record_unconfirmed_call(&mut self, now: ClockReading) {
        if self.behavior.invalidates_previous {
            self.unconfirmed_call_at = Some(now.mono);
        }
    }

    /// Returns whether this token was requested after that call, which proves that it works.
    pub(super) fn confirms(&self, now: ClockReading, token: &CachedToken) -> bool {
        self.unconfirmed_call_at.is_none_or(|ended| {
            token.has_known_age() && now.wall.since(token.requested_at()) < now.mono.duration_since(ended)
        })
    }

    /// Returns since when that call leaves the current token in doubt.
    pub(super) fn unconfirmed_since(&self, now: ClockReading) -> Option<UnixMillis> {
        self.unconfirmed_call_at.map(|ended| now.wall.before(now.mono.duration_since(ended)))
    }

    /// Compares the stored token with the current one of the same generation.
    pub(super) fn reconcile_same_generation(
        &mut self,
        now: ClockReading,
        stored: &CachedToken,
        in_doubt_since: Option<UnixMillis>,
        actions: &mut Vec<Action>,
    ) {
        let same = self.current.as_ref().is_some_and(|current| current.token().ct_eq(stored.token()));
        let unleased_after = self.store_outage.unleased_after.take();
        if same && unleased_after.is_some() {
            self.record_store_up(actions);
        }
        match unleased_after {
            _ if same => self.on_in_doubt_marker(now, in_doubt_since),
            // Two processes fetched without the store in the same millisecond.
            Some(_) => self.mark_in_doubt(now, stored.requested_at()),
            None => {}
        }
    }

    /// Returns since when it is unknown which of two tokens works. One is ours, fetched without the store. The
    /// other is the stored one, which Weixin may have issued earlier.
    pub(super) fn conflicting_since(&self, origin: TokenOrigin) -> Option<UnixMillis> {
        let has_raced = self.store_outage.unleased_after.is_some()
            && origin == TokenOrigin::Adopted
            && self.behavior.invalidates_previous;
        self.current.as_ref().filter(|_| has_raced).map(|current| current.requested_at())
    }

    /// Puts the current token in doubt and plans a fetch with the lease, which settles it.
    pub(super) fn mark_in_doubt(&mut self, now: ClockReading, since: UnixMillis) {
        self.in_doubt_since = Some(now.before(now.wall.since(since)));
        self.last_lost = Some(now.mono);
        self.expedite_refresh(now);
    }
}
