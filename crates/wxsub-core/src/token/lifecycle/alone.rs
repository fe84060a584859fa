//! What happens while the store that several processes share does not answer: whoever fetches then may end the token of the
//! others without their knowledge.

use std::time::Duration;

use super::Lifecycle;
use super::attempt::ELSEWHERE;
use crate::clock::{Moment, Mono, UnixMillis};
use crate::token::schedule::LEASE;
use crate::token::{Command, Failure, Generation, Issued, Notice, Obtained, TokenEndpoint, TokenError};

/// What is known of the store, and of the token held as far as the store does not know it.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// Since when the store has not answered.
    away_since: Option<Mono>,
    /// The newest generation known before the token held was fetched without the store, which does not know it yet.
    fetched_after: Option<Generation>,
    /// How long before its end its successor is fetched without the store.
    lead: Duration,
}

impl Alone {
    /// Another token is held from now on.
    pub(super) fn holds(&mut self, lead: Duration) {
        self.fetched_after = None;
        self.lead = lead;
    }
}

impl Lifecycle {
    /// How long until a fetch without the store is better than none. With `stable_token` it ends nobody's token.
    fn alone_in(&self, now: Moment) -> Duration {
        match (self.endpoint, &self.held, self.alone.away_since) {
            (TokenEndpoint::StableToken, ..) => Duration::ZERO,
            (TokenEndpoint::Token, Some(held), _) => held.remaining(now).saturating_sub(self.alone.lead),
            // The last one has ended or was rejected, and so it is with the others.
            (TokenEndpoint::Token, None, _) if self.known > Generation::default() => Duration::ZERO,
            // Whoever was fetching when it went away has finished by then.
            (TokenEndpoint::Token, None, since) => {
                LEASE.saturating_sub(since.map_or(Duration::ZERO, |since| now.mono.since(since)))
            }
        }
    }

    pub(super) fn may_fetch_alone(&self, now: Moment) -> bool {
        self.alone_in(now).is_zero()
    }

    /// The attempt has come to nothing, because the store does not answer.
    pub(super) fn store_is_away(&mut self, now: Moment, commands: &mut Vec<Command>) {
        self.store_does_not_answer(now, commands);
        let alone_in = self.alone_in(now);
        let wait = self.jitter.around(ELSEWHERE, 10).min(alone_in.max(Duration::from_millis(100)));
        self.due = Some(now.after(wait));
        if self.held.is_none() || self.claimed.is_some() {
            self.announce(TokenError::new(Failure::StoreAway, Some(alone_in.min(LEASE))));
        }
    }

    pub(super) fn store_does_not_answer(&mut self, now: Moment, commands: &mut Vec<Command>) {
        if self.alone.away_since.is_none() {
            self.alone.away_since = Some(now.mono);
            commands.push(Command::Tell(Notice::StoreAway));
        }
    }

    /// What can be read in it is no sign of that unless it is new: a replica can be read, too.
    pub(super) fn store_answers(&mut self, commands: &mut Vec<Command>) {
        if self.alone.away_since.take().is_some() {
            commands.push(Command::Tell(Notice::StoreBack));
        }
    }

    /// The store has been given the token held. If it had got another one meanwhile, Weixin may have issued that one later.
    pub(super) fn published(&mut self, now: Moment, generation: Generation, replaced: Generation) {
        let Some(held) = self.held.as_ref().filter(|held| held.generation() == generation) else { return };
        let asked = held.asked();
        match self.alone.fetched_after.take() {
            Some(known) if replaced <= known => self.unsettled = None,
            Some(_) if self.endpoint == TokenEndpoint::Token => self.doubt(now, asked),
            _ => {}
        }
    }

    /// The token held was fetched without the store, knowing this generation when the call began.
    pub(super) fn fetched_alone(&mut self, now: Moment, known: Generation) {
        self.alone.fetched_after = Some(known);
        self.remember(now);
    }

    /// A call of our own has ended. With `/cgi-bin/token` Weixin may have carried it out after any that others made before.
    pub(super) fn remember(&mut self, now: Moment) {
        if self.endpoint == TokenEndpoint::Token {
            self.unsettled = Some(now.mono);
        }
    }

    /// Whether this token was asked for after that call, and so is the one that works.
    pub(super) fn settles(&self, now: Moment, issued: &Issued) -> bool {
        self.unsettled.is_none_or(|ended| {
            issued.has_known_age() && now.wall.since(issued.asked()) < now.mono.since(ended)
        })
    }

    /// Since when it is uncertain whether the token held works, because of that call.
    pub(super) fn unsettled_since(&self, now: Moment) -> Option<UnixMillis> {
        self.unsettled.map(|ended| now.wall.before(now.mono.since(ended)))
    }

    /// The store holds a token of the generation held.
    pub(super) fn same_generation(
        &mut self,
        now: Moment,
        stored: &Issued,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Command>,
    ) {
        let same = self.held.as_ref().is_some_and(|held| held.token().same_as(stored.token()));
        let alone = self.alone.fetched_after.take();
        if same && alone.is_some() {
            self.store_answers(commands);
        }
        match alone {
            _ if same => self.marked(now, lost_since),
            // Two processes fetched alone in the same millisecond.
            Some(_) => self.doubt(now, stored.asked()),
            None => {}
        }
    }

    /// Since when it is uncertain which of two tokens works: ours, fetched without the store, or the one found there, which
    /// Weixin may have issued earlier.
    pub(super) fn raced(&self, obtained: Obtained) -> Option<UnixMillis> {
        let raced = self.alone.fetched_after.is_some()
            && obtained == Obtained::Adopted
            && self.endpoint == TokenEndpoint::Token;
        self.held.as_ref().filter(|_| raced).map(|held| held.asked())
    }

    /// The token held may be dying; another fetch, with the lease, settles it.
    pub(super) fn doubt(&mut self, now: Moment, since: UnixMillis) {
        self.lost_since = Some(now.before(now.wall.since(since)));
        self.last_lost = Some(now.mono);
        self.hurry(now);
    }
}
