//! "That one no longer works": who says so, and what is done about it.

use std::sync::Arc;
use std::time::Duration;

use super::Lifecycle;
use crate::clock::Moment;
use crate::token::{Command, Evidence, Failure, Generation, Issued, Mode, Notice, TokenError, Verdict};

/// An attempt whose reply was lost explains a dead token for this long: five minutes of overlap and one to arrive.
const EXPLAINS: Duration = Duration::from_secs(360);

impl Lifecycle {
    pub(super) fn reported(
        &mut self,
        now: Moment,
        generation: Generation,
        evidence: Evidence,
        commands: &mut Vec<Command>,
    ) {
        match self.held.clone() {
            // A newer one is held, or the one reported was never ours.
            Some(held) if held.generation() != generation => {
                commands.push(Command::Answer(Verdict::Superseded(held)));
            }
            Some(held) if evidence == Evidence::Seen || self.is_suspect(now) => {
                self.reject(now, &held, commands);
                self.refresh_on_report(now, generation, commands);
            }
            Some(_) => self.refresh_on_claim(now, generation, commands),
            None if self.attempt.is_some() => commands.push(self.wait(generation)),
            None => match &self.failure {
                Some(failure) => commands.push(Command::Answer(Verdict::Refused(failure.clone()))),
                None => {
                    commands.push(self.wait(generation));
                    self.due.get_or_insert(now);
                }
            },
        }
    }

    /// Weixin itself said so, or had reason to: this token is never handed out again.
    fn reject(&mut self, now: Moment, held: &Arc<Issued>, commands: &mut Vec<Command>) {
        let (generation, remaining) = (held.generation(), held.remaining(now));
        commands.push(Command::Tell(Notice::Rejected { generation, remaining }));
        let explained =
            !held.has_known_age() || self.last_lost.is_some_and(|lost| now.mono.since(lost) < EXPLAINS);
        if !explained && remaining > held.life() / 10 {
            commands.push(Command::Tell(Notice::Stolen { generation, remaining }));
        }
        self.held = None;
        self.rejected = Some(Arc::clone(held));
        self.failure = None;
        self.failures = 0;
        self.failing_since = None;
    }

    fn refresh_on_report(&mut self, now: Moment, generation: Generation, commands: &mut Vec<Command>) {
        if self.attempt.is_some() {
            return commands.push(self.wait(generation));
        }
        match self.ration.try_acquire(now.mono) {
            Ok(()) => {
                commands.push(self.wait(generation));
                commands.push(self.start(now, Mode::Normal));
            }
            Err(wait) => {
                let error = TokenError::new(Failure::Rationed(wait), Some(wait));
                if self.due.is_none_or(|due| due.left(now) > wait) {
                    self.due = Some(now.after(wait));
                    self.put_off = true;
                }
                self.announce(error.clone());
                commands.push(Command::Answer(Verdict::Refused(error)));
            }
        }
    }

    fn refresh_on_claim(&mut self, now: Moment, generation: Generation, commands: &mut Vec<Command>) {
        if self.attempt.is_none() {
            if let Err(wait) = self.ration.try_acquire(now.mono) {
                let error = TokenError::new(Failure::Rationed(wait), Some(wait));
                return commands.push(Command::Answer(Verdict::Refused(error)));
            }
            commands.push(self.wait(generation));
            commands.push(self.start(now, Mode::Normal));
        } else {
            commands.push(self.wait(generation));
        }
        self.claimed = Some(generation);
    }

    fn wait(&self, reported: Generation) -> Command {
        let newer_than = reported.min(self.known);
        Command::Answer(Verdict::Wait { newer_than, announced: self.announced })
    }
}
