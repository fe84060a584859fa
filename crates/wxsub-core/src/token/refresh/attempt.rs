//! Handles the end of an attempt to get a token.

use std::sync::Arc;
use std::time::Duration;

use super::RefreshState;
use crate::clock::{ClockReading, UnixMillis};
use crate::retry::RetryClass;
use crate::token::schedule::{self, RetryContext};
use crate::token::{
    Action, CachedToken, FetchOutcome, Generation, RefreshMode, TokenError, TokenErrorKind, TokenEvent,
    TokenOrigin,
};

/// Maximum number of transient failures in a row that are retried at once and not reported, while there is no valid
/// token.
const SILENT_RETRIES: u32 = 2;

/// Maximum time since the first of these failures.
const SILENT_RETRY_WINDOW: Duration = Duration::from_secs(10);

/// Interval at which the store is read again while a peer fetches.
pub(super) const PEER_POLL_INTERVAL: Duration = Duration::from_millis(1_500);

/// Delay after which a client may report the same token again.
const UNCHANGED_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A running attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) mode: RefreshMode,
    pub(super) started_at: ClockReading,
    /// The highest generation known at its start.
    pub(super) known: Generation,
}

impl RefreshState {
    pub(super) fn on_fetch_finished(
        &mut self,
        now: ClockReading,
        number: u64,
        outcome: FetchOutcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(attempt) = self.attempt.take_if(|attempt| attempt.number == number) else {
            return;
        };
        match outcome {
            FetchOutcome::Issued(token) => {
                self.record_store_up(actions);
                self.on_token_issued(now, &attempt, token, TokenOrigin::Fetched, actions);
            }
            FetchOutcome::IssuedWithoutLease(token) => {
                self.record_store_down(now, actions);
                self.on_token_issued(now, &attempt, token, TokenOrigin::FetchedWithoutLease, actions);
            }
            FetchOutcome::Adopted { token, in_doubt_since, lost_race } => {
                self.record_store_up(actions);
                self.on_token_adopted(now, token, in_doubt_since, actions);
                if lost_race {
                    self.record_unconfirmed_call(now);
                    self.mark_in_doubt(now, attempt.started_at.wall);
                }
            }
            FetchOutcome::LeaseHeldByPeer => {
                self.record_store_up(actions);
                self.next_attempt_at = Some(now + self.jitter.within_percent(PEER_POLL_INTERVAL, 10));
            }
            FetchOutcome::StoreUnavailable => self.on_store_unavailable(now, actions),
            FetchOutcome::Failed(failure) => self.on_fetch_failed(now, &attempt, failure, actions),
        }
    }

    fn on_token_adopted(
        &mut self,
        now: ClockReading,
        token: Arc<CachedToken>,
        in_doubt_since: Option<UnixMillis>,
        actions: &mut Vec<Action>,
    ) {
        if token.generation() < self.max_generation || !token.is_valid(now) || self.was_rejected(&token) {
            // The state changed during the attempt. Read the store again.
            self.next_attempt_at = Some(now + Duration::from_millis(100));
            return;
        }
        self.install_token(now, token, TokenOrigin::Adopted, actions);
        self.on_in_doubt_marker(now, in_doubt_since);
        if in_doubt_since.is_some() {
            self.expedite_refresh(now);
        }
    }

    fn on_token_issued(
        &mut self,
        now: ClockReading,
        attempt: &Attempt,
        token: Arc<CachedToken>,
        origin: TokenOrigin,
        actions: &mut Vec<Action>,
    ) {
        self.fetch_limit.spend(now.mono);
        if token.generation() < self.max_generation {
            // A peer's newer token arrived during the fetch. It is unknown which of the two Weixin issued later.
            if self.behavior.invalidates_previous && self.current.is_some() {
                self.in_doubt_since.get_or_insert(attempt.started_at);
                self.last_lost = Some(attempt.started_at.mono);
            }
            self.record_unconfirmed_call(now);
            return self.expedite_refresh(now);
        }
        if !token.is_valid(now) {
            return self.on_fetch_failed(now, attempt, TokenErrorKind::ExpiredOnArrival, actions);
        }
        if self.was_rejected(&token) {
            if self.behavior.has_forced_refresh && attempt.mode == RefreshMode::Normal {
                // Callers have waited since the start of this attempt.
                self.failing_since.get_or_insert(attempt.started_at.mono);
                return actions.push(self.start_attempt(now, RefreshMode::Forced));
            }
            return self.on_fetch_failed(now, attempt, TokenErrorKind::RejectedTokenReissued, actions);
        }
        // The same token keeps its generation, even if the store has lost the record.
        let token = match &self.current {
            Some(current) if current.token().ct_eq(token.token()) => {
                Arc::new(token.with_generation(current.generation()))
            }
            _ => token,
        };
        let unchanged = self.pending_report == Some(token.generation());
        self.install_token(now, token, origin, actions);
        if origin == TokenOrigin::FetchedWithoutLease {
            self.record_unleased_fetch(now, attempt.known);
        }
        if unchanged {
            self.publish_failure(TokenError::new(
                TokenErrorKind::TokenUnchanged,
                Some(UNCHANGED_RETRY_AFTER),
            ));
        }
    }

    pub(super) fn on_fetch_failed(
        &mut self,
        now: ClockReading,
        attempt: &Attempt,
        failure: TokenErrorKind,
        actions: &mut Vec<Action>,
    ) {
        self.failures = self.failures.saturating_add(1);
        let failing_since = *self.failing_since.get_or_insert(now.mono);
        if failure.may_have_taken_effect() && self.behavior.invalidates_previous {
            self.last_lost = Some(attempt.started_at.mono);
            self.in_doubt_from_peer = false;
            self.record_unconfirmed_call(now);
            if self.in_doubt_since.is_none() {
                self.in_doubt_since = Some(attempt.started_at);
                if let Some(current) = &self.current {
                    actions.push(Action::Emit(TokenEvent::FetchResponseLost {
                        generation: current.generation(),
                    }));
                }
            }
        }
        let class = failure.retry_class();
        let limit_delay = self.fetch_limit.wait(now.mono);
        let silent = self.current.is_none()
            && class == RetryClass::Transient
            && limit_delay.is_zero()
            && self.failures <= SILENT_RETRIES
            && now.mono.duration_since(failing_since) < SILENT_RETRY_WINDOW;
        let delay = if silent {
            self.jitter.within_percent(Duration::from_millis(200) * self.failures, 50)
        } else {
            let in_doubt = self.in_doubt_since.is_some() || self.has_unknown_age();
            let elapsed = now.mono.duration_since(attempt.started_at.mono);
            let context = RetryContext {
                class,
                failures: self.failures,
                current: self.current.as_deref(),
                in_doubt,
                elapsed,
            };
            schedule::retry_delay(&context, now, &mut self.jitter).max(limit_delay)
        };
        self.next_attempt_at = Some(now + delay);
        let remaining = self.current.as_ref().map_or(Duration::ZERO, |token| token.remaining(now));
        actions.push(Action::Emit(TokenEvent::FetchFailed {
            failure: failure.clone(),
            retry_in: delay,
            remaining,
            silent,
        }));
        if !silent {
            self.publish_failure(TokenError::new(failure, Some(delay)));
        }
    }

    pub(super) fn publish_failure(&mut self, error: TokenError) {
        self.pending_report = None;
        self.failure = Some(error);
        self.failure_seq += 1;
    }

    /// Fetches within five seconds instead of at the planned time, because the current token may be invalid.
    pub(super) fn expedite_refresh(&mut self, now: ClockReading) {
        let soon = now + self.jitter.uniform_below(Duration::from_secs(5));
        let soon = self.not_before_fetch_limit(soon, now);
        if self.next_attempt_at.is_none_or(|due| due.remaining(now) > soon.remaining(now)) {
            self.next_attempt_at = Some(soon);
        }
    }
}
