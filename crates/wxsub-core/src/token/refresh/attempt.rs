//! What comes of an attempt to get a token.

use std::sync::Arc;
use std::time::Duration;

use super::RefreshState;
use crate::clock::{ClockReading, UnixMillis};
use crate::retry::RetryClass;
use crate::token::schedule::{self, RetryContext};
use crate::token::{
    Action, CachedToken, FetchOutcome, Generation, RefreshMode, TokenEndpoint, TokenError, TokenErrorKind,
    TokenEvent, TokenOrigin,
};

/// While nothing usable is held, this many transient failures in a row pass in silence, retried at once,
const SILENT_RETRIES: u32 = 2;

/// if they pass this fast.
const SILENT_RETRY_WINDOW: Duration = Duration::from_secs(10);

/// How soon another process is asked again whether it has fetched.
pub(super) const PEER_POLL_INTERVAL: Duration = Duration::from_millis(1_500);

/// How long a reporter should wait before reporting the same token again.
const UNCHANGED_RETRY_AFTER: Duration = Duration::from_secs(60);

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) mode: RefreshMode,
    pub(super) started_at: ClockReading,
    /// The newest generation known when it began.
    pub(super) known: Generation,
}

impl RefreshState {
    pub(super) fn finished(
        &mut self,
        now: ClockReading,
        number: u64,
        outcome: FetchOutcome,
        commands: &mut Vec<Action>,
    ) {
        let Some(attempt) = self.attempt.take_if(|attempt| attempt.number == number) else {
            return;
        };
        match outcome {
            FetchOutcome::Issued(issued) => {
                self.record_store_up(commands);
                self.issued(now, &attempt, issued, TokenOrigin::Fetched, commands);
            }
            FetchOutcome::IssuedWithoutLease(issued) => {
                self.record_store_down(now, commands);
                self.issued(now, &attempt, issued, TokenOrigin::FetchedWithoutLease, commands);
            }
            FetchOutcome::Adopted { issued, lost_since, lost_race: raced } => {
                self.record_store_up(commands);
                self.adopted(now, issued, lost_since, commands);
                if raced {
                    self.record_unconfirmed_call(now);
                    self.mark_in_doubt(now, attempt.started_at.wall);
                }
            }
            FetchOutcome::LeaseHeldByPeer => {
                self.record_store_up(commands);
                self.next_attempt_at = Some(now.after(self.jitter.within_percent(PEER_POLL_INTERVAL, 10)));
            }
            FetchOutcome::StoreUnavailable => self.on_store_unavailable(now, commands),
            FetchOutcome::Failed(failure) => self.failed(now, &attempt, failure, commands),
        }
    }

    fn adopted(
        &mut self,
        now: ClockReading,
        issued: Arc<CachedToken>,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Action>,
    ) {
        if issued.generation() < self.max_generation || !issued.is_valid(now) || self.was_rejected(&issued) {
            // Overtaken while it was under way: look again.
            self.next_attempt_at = Some(now.after(Duration::from_millis(100)));
            return;
        }
        self.install_token(now, issued, TokenOrigin::Adopted, commands);
        self.on_in_doubt_marker(now, lost_since);
        if lost_since.is_some() {
            self.expedite_refresh(now);
        }
    }

    fn issued(
        &mut self,
        now: ClockReading,
        attempt: &Attempt,
        issued: Arc<CachedToken>,
        obtained: TokenOrigin,
        commands: &mut Vec<Action>,
    ) {
        self.fetches.spend(now.mono);
        if issued.generation() < self.max_generation {
            // Somebody else's newer token came in meanwhile. Which of the two Weixin issued later, nobody knows.
            if self.endpoint == TokenEndpoint::Token && self.current.is_some() {
                self.in_doubt_since.get_or_insert(attempt.started_at);
                self.last_lost = Some(attempt.started_at.mono);
            }
            self.record_unconfirmed_call(now);
            return self.expedite_refresh(now);
        }
        if !issued.is_valid(now) {
            return self.failed(now, attempt, TokenErrorKind::ExpiredOnArrival, commands);
        }
        if self.was_rejected(&issued) {
            return match (self.endpoint, attempt.mode) {
                (TokenEndpoint::StableToken, RefreshMode::Normal) => {
                    // Those who wait have waited since then.
                    self.failing_since.get_or_insert(attempt.started_at.mono);
                    commands.push(self.start(now, RefreshMode::Forced));
                }
                _ => self.failed(now, attempt, TokenErrorKind::RejectedTokenReissued, commands),
            };
        }
        // The same token again is no new generation, whatever the store knows.
        let issued = match &self.current {
            Some(held) if held.token().ct_eq(issued.token()) => {
                Arc::new(issued.with_generation(held.generation()))
            }
            _ => issued,
        };
        let unchanged = self.pending_report == Some(issued.generation());
        self.install_token(now, issued, obtained, commands);
        if obtained == TokenOrigin::FetchedWithoutLease {
            self.record_unleased_fetch(now, attempt.known);
        }
        if unchanged {
            self.publish_failure(TokenError::new(
                TokenErrorKind::TokenUnchanged,
                Some(UNCHANGED_RETRY_AFTER),
            ));
        }
    }

    pub(super) fn failed(
        &mut self,
        now: ClockReading,
        attempt: &Attempt,
        failure: TokenErrorKind,
        commands: &mut Vec<Action>,
    ) {
        self.failures = self.failures.saturating_add(1);
        let failing_since = *self.failing_since.get_or_insert(now.mono);
        if failure.may_have_taken_effect() && self.endpoint == TokenEndpoint::Token {
            self.last_lost = Some(attempt.started_at.mono);
            self.in_doubt_from_peer = false;
            self.record_unconfirmed_call(now);
            if self.in_doubt_since.is_none() {
                self.in_doubt_since = Some(attempt.started_at);
                if let Some(held) = &self.current {
                    commands
                        .push(Action::Emit(TokenEvent::FetchResponseLost { generation: held.generation() }));
                }
            }
        }
        let pace = failure.pace();
        let limited = self.fetches.wait(now.mono);
        let quiet = self.current.is_none()
            && pace == RetryClass::Transient
            && limited.is_zero()
            && self.failures <= SILENT_RETRIES
            && now.mono.duration_since(failing_since) < SILENT_RETRY_WINDOW;
        let pause = if quiet {
            self.jitter.within_percent(Duration::from_millis(200) * self.failures, 50)
        } else {
            let lost = self.in_doubt_since.is_some() || self.holds_unknown_age();
            let took = now.mono.duration_since(attempt.started_at.mono);
            let setback =
                RetryContext { pace, failures: self.failures, held: self.current.as_deref(), lost, took };
            schedule::retry_delay(&setback, now, &mut self.jitter).max(limited)
        };
        self.next_attempt_at = Some(now.after(pause));
        let remaining = self.current.as_ref().map_or(Duration::ZERO, |issued| issued.remaining(now));
        commands.push(Action::Emit(TokenEvent::FetchFailed {
            failure: failure.clone(),
            retry_in: pause,
            remaining,
            silent: quiet,
        }));
        if !quiet {
            self.publish_failure(TokenError::new(failure, Some(pause)));
        }
    }

    pub(super) fn publish_failure(&mut self, error: TokenError) {
        self.pending_report = None;
        self.failure = Some(error);
        self.failure_seq += 1;
    }

    /// The token held may be dying: do not wait for its planned refresh.
    pub(super) fn expedite_refresh(&mut self, now: ClockReading) {
        let soon = now.after(self.jitter.uniform_below(Duration::from_secs(5)));
        let soon = self.within_limit(soon, now);
        if self.next_attempt_at.is_none_or(|due| due.remaining(now) > soon.remaining(now)) {
            self.next_attempt_at = Some(soon);
        }
    }
}
