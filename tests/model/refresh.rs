//! How a server reacts to events: the refresh state of wxsub-core, without times.

use super::rules::{Rule, Rules};
use super::state::{Attempt, Outcome, Server, State, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obtained {
    Fetched,
    /// Without lease. This was the highest generation known before.
    WithoutLease(u8),
    Adopted,
}

impl Server {
    fn install_token(&mut self, token: Token, obtained: Obtained, rules: &Rules) {
        let adopted = obtained == Obtained::Adopted;
        let lost_race = adopted
            && self.unleased_since.is_some()
            && self.held.id != 0
            && rules.has(Rule::RefetchAfterUnleased);
        self.unleased_since = match obtained {
            Obtained::WithoutLease(known) => Some(known),
            Obtained::Fetched | Obtained::Adopted => None,
        };
        if !adopted || token.requested_at > self.unconfirmed_call_at {
            self.unconfirmed_call_at = 0;
        }
        self.due = lost_race || self.unconfirmed_call_at > 0;
        self.awaits_peer = false;
        self.knows_marker = false;
        self.has_marker_of_held = false;
        self.known = self.known.max(token.generation);
        self.held = token;
    }

    /// An attempt has ended.
    pub(crate) fn on_finished(&mut self, outcome: Outcome, now: u8, rules: &Rules) {
        let before = if rules.has(Rule::CompareWithStart) { self.attempt.known } else { self.known };
        self.attempt = Attempt::default();
        match outcome {
            // A peer's token is newer.
            Outcome::Issued(token) | Outcome::IssuedWithoutLease(token) if token.generation < self.known => {
                self.mark_in_doubt(now, rules);
            }
            Outcome::Issued(token) => self.install_token(token, Obtained::Fetched, rules),
            Outcome::IssuedWithoutLease(token) => {
                self.install_token(token, Obtained::WithoutLease(before), rules);
                self.record_unconfirmed_call(now, rules);
            }
            Outcome::Adopted { token, in_doubt, lost_race } => {
                if token.generation < self.known || self.skips(token, rules) {
                    self.due = true;
                } else {
                    self.install_token(token, Obtained::Adopted, rules);
                    // Without the rule, a lost race counts as a marker.
                    self.awaits_peer = in_doubt || (lost_race && !rules.has(Rule::RememberUnconfirmedCalls));
                    self.due |= in_doubt;
                }
                if lost_race {
                    self.mark_in_doubt(now, rules);
                }
            }
            Outcome::LeaseHeldByPeer => self.due = true,
            Outcome::Refused => {
                self.due = true;
                self.awaits_peer = false;
            }
            Outcome::Lost => {
                self.mark_in_doubt(now, rules);
                self.awaits_peer = false;
            }
        }
    }

    /// An own call may have come after the call of the current token.
    fn mark_in_doubt(&mut self, now: u8, rules: &Rules) {
        self.due = true;
        self.record_unconfirmed_call(now, rules);
    }

    fn record_unconfirmed_call(&mut self, now: u8, rules: &Rules) {
        if rules.has(Rule::RememberUnconfirmedCalls) {
            self.unconfirmed_call_at = now;
        }
    }

    /// The store was read.
    pub(crate) fn on_loaded(&mut self, stored: Token, in_doubt: bool, rules: &Rules) {
        if stored.generation > self.known && !self.skips(stored, rules) {
            self.install_token(stored, Obtained::Adopted, rules);
        }
        if self.held.id != 0 && self.held.generation == stored.generation {
            let without_lease = self.unleased_since.take().is_some();
            self.due |= without_lease && self.held.id != stored.id && rules.has(Rule::RefetchAfterUnleased);
        }
        let idle = self.attempt == Attempt::default();
        // During an attempt, the marker counts as its own.
        self.knows_marker = in_doubt && self.held == stored && (idle || self.knows_marker);
        if self.held == stored && !in_doubt && std::mem::take(&mut self.awaits_peer) && idle {
            // The call that had the marker certainly invalidated no token.
            self.due = self.unconfirmed_call_at > 0;
        }
    }

    /// A peer's marker is older than a lease, so this server takes over.
    pub(crate) fn schedule_takeover(&mut self) {
        self.due = true;
        self.awaits_peer = true;
        self.knows_marker = false;
    }

    /// The current token was published to the store.
    pub(crate) fn on_published(&mut self, replaced: u8, rules: &Rules) {
        let Some(known) = self.unleased_since.take() else { return };
        if replaced > known {
            self.due |= rules.has(Rule::RefetchAfterUnleased);
        } else {
            self.unconfirmed_call_at = 0;
        }
    }

    fn skips(&self, token: Token, rules: &Rules) -> bool {
        rules.has(Rule::SkipRejected) && self.rejected == token.id
    }

    /// Weixin rejected the current token in an own call.
    pub(crate) fn on_rejection(&mut self) {
        self.rejected = self.held.id;
        self.held = Token::default();
        self.due |= self.attempt == Attempt::default();
    }
}

impl State {
    /// A server reads the store, and publishes its token if that is newer.
    pub(crate) fn poll_store(&mut self, at: usize, rules: &Rules) {
        self.servers[at].must_look = false;
        if let Some(token) = self.raised_token(at).filter(|_| rules.has(Rule::LaterRequestWins)) {
            self.store.token = token;
            self.clear_marker_of_held(at, rules);
            return self.servers[at].on_loaded(token, self.store.in_doubt, rules);
        }
        let server = &mut self.servers[at];
        if server.held.id == 0 || server.held.generation <= self.store.token.generation {
            if self.store.is_broken {
                server.due |= rules.has(Rule::ReplaceBroken) && server.attempt == Attempt::default();
                return;
            }
            return server.on_loaded(self.store.token, self.store.in_doubt, rules);
        }
        if rules.has(Rule::Publish) {
            let replaced = std::mem::replace(&mut self.store.token, server.held).generation;
            self.store.is_broken = false;
            server.on_published(replaced, rules);
            self.clear_marker_of_held(at, rules);
        }
    }

    /// A server has written a token that it had before. The marker of another call stays.
    fn clear_marker_of_held(&mut self, at: usize, rules: &Rules) {
        if rules.has(Rule::StoreClearsMarker)
            && (self.servers[at].has_marker_of_held || !rules.has(Rule::PublishKeepsMarker))
        {
            self.clear_marker();
        }
    }

    /// Of the token of this server and the stored one, the one that was requested later, if it has the lower generation. It gets
    /// the next higher one. A token that the store knew is never newer than the stored one.
    fn raised_token(&self, at: usize) -> Option<Token> {
        let (Server { held, unleased_since, .. }, stored) = (self.servers[at], self.store.token);
        if held.id == 0 || stored.id == 0 || held.id == stored.id || self.store.is_broken {
            return None;
        }
        let is_ahead = held.generation > stored.generation;
        if is_ahead && stored.requested_at > held.requested_at {
            return Some(Token { generation: held.generation + 1, ..stored });
        }
        let is_later = unleased_since.is_some() && held.requested_at > stored.requested_at;
        (is_later && !is_ahead).then_some(Token { generation: stored.generation + 1, ..held })
    }
}
