//! One attempt step by step, as in `token/keeper/round.rs`. Between any two steps anything may happen.

use super::rules::{Generations, Put, Rules};
use super::state::{Attempt, Outcome, Stage, State, Token};

/// How often a token is offered to the store.
const OFFERS: u8 = 3;

impl State {
    /// Takes the lease. Without it, adopts what is newer or comes back later.
    pub(crate) fn take_lease(&mut self, at: usize, rules: &Rules) {
        let free = self.lease_is_free() || !rules.lease;
        let fence = self.servers.iter().map(|server| server.attempt.fence).max().unwrap_or_default();
        let fence = if rules.put == Put::Fence { fence.max(self.store.fence) + 1 } else { 0 };
        let server = &mut self.servers[at];
        let (known, rejected) = (server.known, server.rejected);
        let attempt = Attempt { known, rejected, fence, trusted: true, ..Attempt::default() };
        server.due = false;
        if free {
            server.attempt = Attempt { stage: Stage::Load, ..attempt };
            server.leases = true;
        } else {
            let outcome = self.adopt(&attempt, rules, false).unwrap_or(Outcome::Elsewhere);
            let now = self.now();
            self.servers[at].finished(outcome, now, rules);
        }
    }

    /// Fetches though the store does not answer.
    pub(crate) fn go_alone(&mut self, at: usize) {
        let asked = self.now();
        self.abandon_lease(at);
        let server = &mut self.servers[at];
        let (known, rejected) = (server.known, server.rejected);
        let attempt = Attempt {
            stage: Stage::Mark,
            known,
            rejected,
            asked,
            alone: true,
            trusted: true,
            ..Attempt::default()
        };
        server.due = false;
        server.attempt = attempt;
    }

    /// The store does not answer, and the time to fetch without it has not come.
    pub(crate) fn put_off(&mut self, at: usize) {
        self.abandon_lease(at);
        let server = &mut self.servers[at];
        server.attempt = Attempt::default();
        server.due = true;
    }

    fn adopt(&self, attempt: &Attempt, rules: &Rules, raced: bool) -> Option<Outcome> {
        let token = self.store.token;
        let shunned = rules.shun_rejected && token.id == attempt.rejected;
        let newer = token.generation > attempt.known && !shunned;
        newer.then_some(Outcome::Adopted { token, marked: self.store.marked, raced })
    }

    pub(crate) fn load(&mut self, at: usize, rules: &Rules) {
        let attempt = self.servers[at].attempt;
        let (record, asked) = (self.store.token.generation, self.now());
        self.servers[at].attempt = match self.adopt(&attempt, rules, false).filter(|_| rules.load_first) {
            Some(outcome) => attempt.ends(outcome, false),
            None => Attempt { stage: Stage::Mark, record, asked, ..attempt },
        };
    }

    /// Marks, and looks whether the lease goes on.
    pub(crate) fn mark(&mut self, at: usize, rules: &Rules) {
        let server = &mut self.servers[at];
        if rules.mark && !self.store.away && !self.store.marked {
            self.store.marked = true;
            server.marks = true;
        }
        server.attempt = if server.attempt.trusted || !rules.distrust {
            Attempt { stage: Stage::Call, ..server.attempt }
        } else {
            server.attempt.ends(Outcome::Elsewhere, true)
        };
    }

    /// Weixin issues a token: from now on, the one that works.
    pub(crate) fn issue(&mut self, at: usize) {
        self.newest += 1;
        self.servers[at].attempt.stage = Stage::Put { id: self.newest, offers: 0 };
    }

    /// Offers the token to the store. Whoever finds a newer one there adopts it.
    pub(crate) fn put(&mut self, at: usize, id: u8, offers: u8, rules: &Rules) {
        let mut attempt = self.servers[at].attempt;
        let next = attempt.known.max(attempt.record) + 1;
        let generation = match rules.generations {
            Generations::Times => next.max(attempt.asked),
            Generations::Counted => next,
        };
        let token = Token { id, generation, asked: attempt.asked };
        let (stored, unsaved) = match attempt.alone {
            true => (Outcome::IssuedAlone(token), Outcome::IssuedAlone(token)),
            false if rules.unsaved_is_alone => (Outcome::Issued(token), Outcome::IssuedAlone(token)),
            false => (Outcome::Issued(token), Outcome::Issued(token)),
        };
        let found = self.store.token;
        let outcome = if self.store.away {
            Some(unsaved)
        } else if self.takes(&attempt, generation, rules) {
            self.store.token = token;
            self.store.fence = attempt.fence;
            if rules.put_clears_mark {
                self.take_mark_away();
            }
            Some(stored)
        } else if found.generation <= attempt.record && rules.put != Put::Fence {
            // The store has lost its records.
            Some(unsaved)
        } else {
            attempt.record = found.generation;
            let last = (offers + 1 == OFFERS).then_some(unsaved);
            self.adopt(&attempt, rules, rules.second_fetch).or(last)
        };
        self.servers[at].attempt = match outcome {
            Some(outcome) => attempt.ends(outcome, false),
            None => Attempt { stage: Stage::Put { id, offers: offers + 1 }, ..attempt },
        };
    }

    fn takes(&self, attempt: &Attempt, generation: u8, rules: &Rules) -> bool {
        let stored = self.store.token.generation;
        match rules.put {
            Put::CompareAndSet => stored == attempt.record && generation > stored,
            Put::IfNewer => generation > stored,
            Put::Fence => attempt.fence >= self.store.fence,
            Put::Blind => true,
        }
    }

    pub(crate) fn end(&mut self, at: usize, outcome: Outcome, unmark: bool, rules: &Rules) {
        if self.store.away {
            self.abandon_lease(at);
        } else if unmark && (self.servers[at].marks || !rules.own_mark_only) {
            self.take_mark_away();
        }
        let now = self.now();
        let server = &mut self.servers[at];
        server.leases = false;
        server.marks = false;
        server.finished(outcome, now, rules);
    }

    /// The lease stays with the store until it ends by itself, and so does the mark.
    pub(crate) fn abandon_lease(&mut self, at: usize) {
        let server = &mut self.servers[at];
        self.store.forsaken_lease |= std::mem::take(&mut server.leases);
        server.marks = false;
    }
}
