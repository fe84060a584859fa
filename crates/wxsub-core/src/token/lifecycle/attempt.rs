//! What comes of an attempt to get a token.

use std::sync::Arc;
use std::time::Duration;

use super::Lifecycle;
use crate::clock::{Moment, UnixMillis};
use crate::retry::Pace;
use crate::token::schedule::{self, Setback};
use crate::token::{
    Command, Failure, Generation, Issued, Mode, Notice, Obtained, Outcome, TokenEndpoint, TokenError,
};

/// While nothing usable is held, this many transient failures in a row pass in silence, retried at once,
const QUIET_FAILURES: u32 = 2;

/// if they pass this fast.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// How soon another process is asked again whether it has fetched.
pub(super) const ELSEWHERE: Duration = Duration::from_millis(1_500);

/// How long a reporter should wait before reporting the same token again.
const NO_OTHER: Duration = Duration::from_secs(60);

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) mode: Mode,
    pub(super) asked: Moment,
    /// The newest generation known when it began.
    pub(super) known: Generation,
}

impl Lifecycle {
    pub(super) fn finished(
        &mut self,
        now: Moment,
        number: u64,
        outcome: Outcome,
        commands: &mut Vec<Command>,
    ) {
        let Some(attempt) = self.attempt.take_if(|attempt| attempt.number == number) else {
            return;
        };
        match outcome {
            Outcome::Issued(issued) => {
                self.store_answers(commands);
                self.issued(now, &attempt, issued, Obtained::Fetched, commands);
            }
            Outcome::IssuedAlone(issued) => {
                self.store_does_not_answer(now, commands);
                self.issued(now, &attempt, issued, Obtained::Alone, commands);
            }
            Outcome::Adopted { issued, lost_since, raced } => {
                self.store_answers(commands);
                self.adopted(now, issued, lost_since, commands);
                if raced {
                    self.remember(now);
                    self.doubt(now, attempt.asked.wall);
                }
            }
            Outcome::Elsewhere => {
                self.store_answers(commands);
                self.due = Some(now.after(self.jitter.around(ELSEWHERE, 10)));
            }
            Outcome::StoreAway => self.store_is_away(now, commands),
            Outcome::Failed(failure) => self.failed(now, &attempt, failure, commands),
        }
    }

    fn adopted(
        &mut self,
        now: Moment,
        issued: Arc<Issued>,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Command>,
    ) {
        if issued.generation() < self.known || !issued.is_usable(now) || self.was_rejected(&issued) {
            // Overtaken while it was under way: look again.
            self.due = Some(now.after(Duration::from_millis(100)));
            return;
        }
        self.accept(now, issued, Obtained::Adopted, commands);
        self.marked(now, lost_since);
        if lost_since.is_some() {
            self.hurry(now);
        }
    }

    fn issued(
        &mut self,
        now: Moment,
        attempt: &Attempt,
        issued: Arc<Issued>,
        obtained: Obtained,
        commands: &mut Vec<Command>,
    ) {
        self.fetches.spend(now.mono);
        if issued.generation() < self.known {
            // Somebody else's newer token came in meanwhile. Which of the two Weixin issued later, nobody knows.
            if self.endpoint == TokenEndpoint::Token && self.held.is_some() {
                self.lost_since.get_or_insert(attempt.asked);
                self.last_lost = Some(attempt.asked.mono);
            }
            self.remember(now);
            return self.hurry(now);
        }
        if !issued.is_usable(now) {
            return self.failed(now, attempt, Failure::DeadOnArrival, commands);
        }
        if self.was_rejected(&issued) {
            return match (self.endpoint, attempt.mode) {
                (TokenEndpoint::StableToken, Mode::Normal) => {
                    // Those who wait have waited since then.
                    self.failing_since.get_or_insert(attempt.asked.mono);
                    commands.push(self.start(now, Mode::Forced));
                }
                _ => self.failed(now, attempt, Failure::StillRejected, commands),
            };
        }
        // The same token again is no new generation, whatever the store knows.
        let issued = match &self.held {
            Some(held) if held.token().same_as(issued.token()) => {
                Arc::new(issued.of_generation(held.generation()))
            }
            _ => issued,
        };
        let unchanged = self.claimed == Some(issued.generation());
        self.accept(now, issued, obtained, commands);
        if obtained == Obtained::Alone {
            self.fetched_alone(now, attempt.known);
        }
        if unchanged {
            self.announce(TokenError::new(Failure::NoOther, Some(NO_OTHER)));
        }
    }

    pub(super) fn failed(
        &mut self,
        now: Moment,
        attempt: &Attempt,
        failure: Failure,
        commands: &mut Vec<Command>,
    ) {
        self.failures = self.failures.saturating_add(1);
        let failing_since = *self.failing_since.get_or_insert(now.mono);
        if failure.maybe_applied() && self.endpoint == TokenEndpoint::Token {
            self.last_lost = Some(attempt.asked.mono);
            self.lost_elsewhere = false;
            self.remember(now);
            if self.lost_since.is_none() {
                self.lost_since = Some(attempt.asked);
                if let Some(held) = &self.held {
                    commands.push(Command::Tell(Notice::AnswerLost { generation: held.generation() }));
                }
            }
        }
        let pace = failure.pace();
        let limited = self.fetches.wait(now.mono);
        let quiet = self.held.is_none()
            && pace == Pace::Soon
            && limited.is_zero()
            && self.failures <= QUIET_FAILURES
            && now.mono.since(failing_since) < QUIET_TIME;
        let pause = if quiet {
            self.jitter.around(Duration::from_millis(200) * self.failures, 50)
        } else {
            let lost = self.lost_since.is_some() || self.holds_unknown_age();
            let took = now.mono.since(attempt.asked.mono);
            let setback = Setback { pace, failures: self.failures, held: self.held.as_deref(), lost, took };
            schedule::pause(&setback, now, &mut self.jitter).max(limited)
        };
        self.due = Some(now.after(pause));
        let remaining = self.held.as_ref().map_or(Duration::ZERO, |issued| issued.remaining(now));
        commands.push(Command::Tell(Notice::FetchFailed {
            failure: failure.clone(),
            retry_in: pause,
            remaining,
            quiet,
        }));
        if !quiet {
            self.announce(TokenError::new(failure, Some(pause)));
        }
    }

    pub(super) fn announce(&mut self, error: TokenError) {
        self.claimed = None;
        self.failure = Some(error);
        self.announced += 1;
    }

    /// The token held may be dying: do not wait for its planned refresh.
    pub(super) fn hurry(&mut self, now: Moment) {
        let soon = now.after(self.jitter.below(Duration::from_secs(5)));
        let soon = self.within_limit(soon, now);
        if self.due.is_none_or(|due| due.left(now) > soon.left(now)) {
            self.due = Some(soon);
        }
    }
}
