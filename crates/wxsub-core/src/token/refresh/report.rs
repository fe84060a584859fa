//! "That one no longer works": who says so, and what is done about it.

use std::sync::Arc;
use std::time::Duration;

use super::RefreshState;
use crate::clock::ClockReading;
use crate::token::{
    Action, CachedToken, Evidence, Generation, RefreshMode, ReportOutcome, TokenError, TokenErrorKind,
    TokenEvent,
};

/// An attempt whose reply was lost explains a dead token for this long: five minutes of overlap and one to arrive.
const IN_DOUBT_WINDOW: Duration = Duration::from_secs(360);

impl RefreshState {
    pub(super) fn reported(
        &mut self,
        now: ClockReading,
        generation: Generation,
        evidence: Evidence,
        commands: &mut Vec<Action>,
    ) {
        match self.current.clone() {
            // A newer one is held, or the one reported was never ours.
            Some(held) if held.generation() != generation => {
                commands.push(Action::ResolveReport(ReportOutcome::AlreadyRefreshed(held)));
            }
            Some(held) if evidence == Evidence::Observed || self.is_suspect(now) => {
                self.reject(now, &held, commands);
                self.refresh_on_report(now, generation, commands);
            }
            Some(_) => self.refresh_on_unverified_report(now, generation, commands),
            None if self.attempt.is_some() => commands.push(self.wait(generation)),
            None => match &self.failure {
                Some(failure) => {
                    commands.push(Action::ResolveReport(ReportOutcome::Rejected(failure.clone())));
                }
                None => {
                    commands.push(self.wait(generation));
                    self.next_attempt_at.get_or_insert(now);
                }
            },
        }
    }

    /// Weixin itself said so, or had reason to: this token is never handed out again.
    fn reject(&mut self, now: ClockReading, held: &Arc<CachedToken>, commands: &mut Vec<Action>) {
        let (generation, remaining) = (held.generation(), held.remaining(now));
        commands.push(Action::Emit(TokenEvent::Rejected { generation, remaining }));
        let explained = !held.has_known_age()
            || self.last_lost.is_some_and(|lost| now.mono.duration_since(lost) < IN_DOUBT_WINDOW);
        if !explained && remaining > held.lifetime() / 10 {
            commands.push(Action::Emit(TokenEvent::InvalidatedExternally { generation, remaining }));
        }
        self.current = None;
        self.rejected = Some(Arc::clone(held));
        self.failure = None;
        self.failures = 0;
        self.failing_since = None;
    }

    fn refresh_on_report(&mut self, now: ClockReading, generation: Generation, commands: &mut Vec<Action>) {
        if self.attempt.is_some() {
            return commands.push(self.wait(generation));
        }
        match self.ration.try_acquire(now.mono) {
            Ok(()) => {
                commands.push(self.wait(generation));
                commands.push(self.start(now, RefreshMode::Normal));
            }
            Err(wait) => {
                let error = TokenError::new(TokenErrorKind::RateLimited(wait), Some(wait));
                if self.next_attempt_at.is_none_or(|due| due.remaining(now) > wait) {
                    self.next_attempt_at = Some(now.after(wait));
                    self.deferred_by_rate_limit = true;
                }
                self.publish_failure(error.clone());
                commands.push(Action::ResolveReport(ReportOutcome::Rejected(error)));
            }
        }
    }

    fn refresh_on_unverified_report(
        &mut self,
        now: ClockReading,
        generation: Generation,
        commands: &mut Vec<Action>,
    ) {
        if self.attempt.is_none() {
            if let Err(wait) = self.ration.try_acquire(now.mono) {
                let error = TokenError::new(TokenErrorKind::RateLimited(wait), Some(wait));
                return commands.push(Action::ResolveReport(ReportOutcome::Rejected(error)));
            }
            commands.push(self.wait(generation));
            commands.push(self.start(now, RefreshMode::Normal));
        } else {
            commands.push(self.wait(generation));
        }
        self.pending_report = Some(generation);
    }

    fn wait(&self, reported: Generation) -> Action {
        let newer_than = reported.min(self.max_generation);
        Action::ResolveReport(ReportOutcome::Pending { newer_than, announced: self.failure_seq })
    }
}
