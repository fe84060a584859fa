//! What happens while the store that several processes share does not answer: whoever fetches then may end the token of the
//! others without their knowledge.

use std::time::Duration;

use super::RefreshState;
use super::attempt::PEER_POLL_INTERVAL;
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};
use crate::token::schedule::LEASE;
use crate::token::{
    Action, CachedToken, Generation, TokenEndpoint, TokenError, TokenErrorKind, TokenEvent, TokenOrigin,
};

/// What is known of the store, and of the token held as far as the store does not know it.
#[derive(Debug, Default)]
pub(super) struct StoreOutage {
    /// Since when the store has not answered.
    away_since: Option<MonotonicInstant>,
    /// The newest generation known before the token held was fetched without the store, which does not know it yet.
    fetched_after: Option<Generation>,
    /// How long before its end its successor is fetched without the store.
    lead: Duration,
}

impl StoreOutage {
    /// Another token is held from now on.
    pub(super) fn reset(&mut self, lead: Duration) {
        self.fetched_after = None;
        self.lead = lead;
    }
}

impl RefreshState {
    /// How long until a fetch without the store is better than none. With `stable_token` it ends nobody's token.
    fn delay_until_unleased_fetch(&self, now: ClockReading) -> Duration {
        match (self.endpoint, &self.current, self.alone.away_since) {
            (TokenEndpoint::StableToken, ..) => Duration::ZERO,
            (TokenEndpoint::Token, Some(held), _) => held.remaining(now).saturating_sub(self.alone.lead),
            // The last one has ended or was rejected, and so it is with the others.
            (TokenEndpoint::Token, None, _) if self.max_generation > Generation::default() => Duration::ZERO,
            // Whoever was fetching when it went away has finished by then.
            (TokenEndpoint::Token, None, since) => {
                LEASE.saturating_sub(since.map_or(Duration::ZERO, |since| now.mono.duration_since(since)))
            }
        }
    }

    pub(super) fn may_fetch_without_lease(&self, now: ClockReading) -> bool {
        self.delay_until_unleased_fetch(now).is_zero()
    }

    /// The attempt has come to nothing, because the store does not answer.
    pub(super) fn on_store_unavailable(&mut self, now: ClockReading, commands: &mut Vec<Action>) {
        self.record_store_down(now, commands);
        let alone_in = self.delay_until_unleased_fetch(now);
        let wait =
            self.jitter.within_percent(PEER_POLL_INTERVAL, 10).min(alone_in.max(Duration::from_millis(100)));
        self.next_attempt_at = Some(now.after(wait));
        if self.current.is_none() || self.pending_report.is_some() {
            self.publish_failure(TokenError::new(
                TokenErrorKind::StoreUnavailable,
                Some(alone_in.min(LEASE)),
            ));
        }
    }

    pub(super) fn record_store_down(&mut self, now: ClockReading, commands: &mut Vec<Action>) {
        if self.alone.away_since.is_none() {
            self.alone.away_since = Some(now.mono);
            commands.push(Action::Emit(TokenEvent::StoreUnavailable));
        }
    }

    /// What can be read in it is no sign of that unless it is new: a replica can be read, too.
    pub(super) fn record_store_up(&mut self, commands: &mut Vec<Action>) {
        if self.alone.away_since.take().is_some() {
            commands.push(Action::Emit(TokenEvent::StoreRecovered));
        }
    }

    /// The store has been given the token held. If it had got another one meanwhile, Weixin may have issued that one later.
    pub(super) fn published(&mut self, now: ClockReading, generation: Generation, replaced: Generation) {
        let Some(held) = self.current.as_ref().filter(|held| held.generation() == generation) else { return };
        let asked = held.requested_at();
        match self.alone.fetched_after.take() {
            Some(known) if replaced <= known => self.unconfirmed_call_at = None,
            Some(_) if self.endpoint == TokenEndpoint::Token => self.mark_in_doubt(now, asked),
            _ => {}
        }
    }

    /// The token held was fetched without the store, knowing this generation when the call began.
    pub(super) fn record_unleased_fetch(&mut self, now: ClockReading, known: Generation) {
        self.alone.fetched_after = Some(known);
        self.record_unconfirmed_call(now);
    }

    /// A call of our own has ended. With `/cgi-bin/token` Weixin may have carried it out after any that others made before.
    pub(super) fn record_unconfirmed_call(&mut self, now: ClockReading) {
        if self.endpoint == TokenEndpoint::Token {
            self.unconfirmed_call_at = Some(now.mono);
        }
    }

    /// Whether this token was asked for after that call, and so is the one that works.
    pub(super) fn confirms(&self, now: ClockReading, issued: &CachedToken) -> bool {
        self.unconfirmed_call_at.is_none_or(|ended| {
            issued.has_known_age() && now.wall.since(issued.requested_at()) < now.mono.duration_since(ended)
        })
    }

    /// Since when it is uncertain whether the token held works, because of that call.
    pub(super) fn unsettled_since(&self, now: ClockReading) -> Option<UnixMillis> {
        self.unconfirmed_call_at.map(|ended| now.wall.before(now.mono.duration_since(ended)))
    }

    /// The store holds a token of the generation held.
    pub(super) fn reconcile_same_generation(
        &mut self,
        now: ClockReading,
        stored: &CachedToken,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Action>,
    ) {
        let same = self.current.as_ref().is_some_and(|held| held.token().ct_eq(stored.token()));
        let alone = self.alone.fetched_after.take();
        if same && alone.is_some() {
            self.record_store_up(commands);
        }
        match alone {
            _ if same => self.on_in_doubt_marker(now, lost_since),
            // Two processes fetched alone in the same millisecond.
            Some(_) => self.mark_in_doubt(now, stored.requested_at()),
            None => {}
        }
    }

    /// Since when it is uncertain which of two tokens works: ours, fetched without the store, or the one found there, which
    /// Weixin may have issued earlier.
    pub(super) fn conflicting_since(&self, obtained: TokenOrigin) -> Option<UnixMillis> {
        let raced = self.alone.fetched_after.is_some()
            && obtained == TokenOrigin::Adopted
            && self.endpoint == TokenEndpoint::Token;
        self.current.as_ref().filter(|_| raced).map(|held| held.requested_at())
    }

    /// The token held may be dying; another fetch, with the lease, settles it.
    pub(super) fn mark_in_doubt(&mut self, now: ClockReading, since: UnixMillis) {
        self.in_doubt_since = Some(now.before(now.wall.since(since)));
        self.last_lost = Some(now.mono);
        self.expedite_refresh(now);
    }
}
