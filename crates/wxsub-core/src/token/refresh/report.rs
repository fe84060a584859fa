//! Handles reports that a token no longer works.

use std::sync::Arc;
use std::time::Duration;

use super::RefreshState;
use crate::clock::ClockReading;
use crate::token::{
    Action, CachedToken, Evidence, Generation, RefreshMode, ReportOutcome, TokenError, TokenErrorKind,
    TokenEvent,
};

/// How long an attempt with a lost response can explain a rejection: five minutes of overlap, and one minute for
/// the response.
const IN_DOUBT_WINDOW: Duration = Duration::from_secs(360);

impl RefreshState {
    pub(super) fn on_invalid_token_reported(
        &mut self,
        now: ClockReading,
        generation: Generation,
        evidence: Evidence,
        actions: &mut Vec<Action>,
    ) {
        match self.current.clone() {
            // A newer token is current, or the reported one was never ours.
            Some(current) if current.generation() != generation => {
                actions.push(Action::ResolveReport(ReportOutcome::AlreadyRefreshed(current)));
            }
            Some(current) if evidence == Evidence::Observed || self.is_in_doubt(now) => {
                self.reject(now, &current, actions);
                self.refresh_on_report(now, generation, actions);
            }
            Some(_) => self.refresh_on_unverified_report(now, generation, actions),
            None if self.attempt.is_some() => actions.push(self.pending(generation)),
            None => match &self.failure {
                Some(failure) => {
                    actions.push(Action::ResolveReport(ReportOutcome::Rejected(failure.clone())));
                }
                None => {
                    actions.push(self.pending(generation));
                    self.next_attempt_at.get_or_insert(now);
                }
            },
        }
    }

    /// Drops a token that Weixin rejected. It is never served again.
    fn reject(&mut self, now: ClockReading, current: &Arc<CachedToken>, actions: &mut Vec<Action>) {
        let (generation, remaining) = (current.generation(), current.remaining(now));
        actions.push(Action::Emit(TokenEvent::Rejected { generation, remaining }));
        let is_explained = !current.has_known_age()
            || self.last_lost.is_some_and(|lost| now.mono.duration_since(lost) < IN_DOUBT_WINDOW);
        if !is_explained && remaining > current.lifetime() / 10 {
            actions.push(Action::Emit(TokenEvent::InvalidatedExternally { generation, remaining }));
        }
        self.current = None;
        self.rejected = Some(Arc::clone(current));
        self.failure = None;
        self.failures = 0;
        self.failing_since = None;
    }

    fn refresh_on_report(&mut self, now: ClockReading, generation: Generation, actions: &mut Vec<Action>) {
        if self.attempt.is_some() {
            return actions.push(self.pending(generation));
        }
        match self.report_limit.try_acquire(now.mono) {
            Ok(()) => {
                actions.push(self.pending(generation));
                actions.push(self.start_attempt(now, RefreshMode::Normal));
            }
            Err(wait) => {
                let error = TokenError::new(TokenErrorKind::RateLimited(wait), Some(wait));
                if self.next_attempt_at.is_none_or(|due| due.remaining(now) > wait) {
                    self.next_attempt_at = Some(now + wait);
                    self.deferred_by_rate_limit = true;
                }
                self.publish_failure(error.clone());
                actions.push(Action::ResolveReport(ReportOutcome::Rejected(error)));
            }
        }
    }

    fn refresh_on_unverified_report(
        &mut self,
        now: ClockReading,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        if self.attempt.is_none() {
            if let Err(wait) = self.report_limit.try_acquire(now.mono) {
                let error = TokenError::new(TokenErrorKind::RateLimited(wait), Some(wait));
                return actions.push(Action::ResolveReport(ReportOutcome::Rejected(error)));
            }
            actions.push(self.pending(generation));
            actions.push(self.start_attempt(now, RefreshMode::Normal));
        } else {
            actions.push(self.pending(generation));
        }
        self.pending_report = Some(generation);
    }

    fn pending(&self, reported: Generation) -> Action {
        let after_generation = reported.min(self.max_generation);
        Action::ResolveReport(ReportOutcome::Pending { after_generation, failure_seq: self.failure_seq })
    }
}
