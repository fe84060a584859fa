//! What a server makes of what it hears: `token::Lifecycle`, without the times.

use super::rules::Rules;
use super::state::{Attempt, Outcome, Server, State, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obtained {
    Fetched,
    /// Without the store. The newest generation known before was this.
    Alone(u8),
    Adopted,
}

impl Server {
    fn accept(&mut self, token: Token, obtained: Obtained, rules: &Rules) {
        let adopted = obtained == Obtained::Adopted;
        let raced = adopted && self.fetched_after.is_some() && self.held.id != 0 && rules.doubt_alone;
        self.fetched_after = match obtained {
            Obtained::Alone(known) => Some(known),
            Obtained::Fetched | Obtained::Adopted => None,
        };
        if !adopted || token.asked > self.unsettled {
            self.unsettled = 0;
        }
        self.due = raced || self.unsettled > 0;
        self.watches = false;
        self.known = self.known.max(token.generation);
        self.held = token;
    }

    /// An attempt has come to its end.
    pub(crate) fn finished(&mut self, outcome: Outcome, now: u8, rules: &Rules) {
        let before = if rules.known_at_start { self.attempt.known } else { self.known };
        self.attempt = Attempt::default();
        match outcome {
            // Overtaken by another's.
            Outcome::Issued(token) | Outcome::IssuedAlone(token) if token.generation < self.known => {
                self.doubt(now, rules);
            }
            Outcome::Issued(token) => self.accept(token, Obtained::Fetched, rules),
            Outcome::IssuedAlone(token) => {
                self.accept(token, Obtained::Alone(before), rules);
                self.remember(now, rules);
            }
            Outcome::Adopted { token, marked, raced } => {
                if token.generation < self.known || self.shuns(token, rules) {
                    self.due = true;
                } else {
                    self.accept(token, Obtained::Adopted, rules);
                    // Without a memory of its own, it takes a lost race for a mark.
                    self.watches = marked || (raced && !rules.remember_calls);
                    self.due |= marked;
                }
                if raced {
                    self.doubt(now, rules);
                }
            }
            Outcome::Elsewhere => self.due = true,
            Outcome::Refused => {
                self.due = true;
                self.watches = false;
            }
            Outcome::Lost => {
                self.doubt(now, rules);
                self.watches = false;
            }
        }
    }

    /// A call of its own may have come after the one whose token is held.
    fn doubt(&mut self, now: u8, rules: &Rules) {
        self.due = true;
        self.remember(now, rules);
    }

    fn remember(&mut self, now: u8, rules: &Rules) {
        if rules.remember_calls {
            self.unsettled = now;
        }
    }

    /// The store was read.
    pub(crate) fn loaded(&mut self, stored: Token, marked: bool, rules: &Rules) {
        if stored.generation > self.known && !self.shuns(stored, rules) {
            self.accept(stored, Obtained::Adopted, rules);
        }
        if self.held.id != 0 && self.held.generation == stored.generation {
            let alone = self.fetched_after.take().is_some();
            self.due |= alone && self.held.id != stored.id && rules.doubt_alone;
        }
        let idle = self.attempt == Attempt::default();
        if self.held == stored && !marked && std::mem::take(&mut self.watches) && idle {
            // The call of whoever had marked has certainly ended nothing.
            self.due = self.unsettled > 0;
        }
    }

    /// Another's mark has been there for so long that it has to be looked after.
    pub(crate) fn looks_after(&mut self) {
        self.due = true;
        self.watches = true;
    }

    /// The store was given the token held.
    pub(crate) fn published(&mut self, replaced: u8, rules: &Rules) {
        let Some(known) = self.fetched_after.take() else { return };
        if replaced > known {
            self.due |= rules.doubt_alone;
        } else {
            self.unsettled = 0;
        }
    }

    fn shuns(&self, token: Token, rules: &Rules) -> bool {
        rules.shun_rejected && self.rejected == token.id
    }

    /// Weixin rejected the token held to its face.
    pub(crate) fn sees_rejection(&mut self) {
        self.rejected = self.held.id;
        self.held = Token::default();
        self.due |= self.attempt == Attempt::default();
    }
}

impl State {
    /// A server reads the store, and gives it the token held if that is newer.
    pub(crate) fn poll(&mut self, at: usize, rules: &Rules) {
        let server = &mut self.servers[at];
        if server.held.id == 0 || server.held.generation <= self.store.token.generation {
            return server.loaded(self.store.token, self.store.marked, rules);
        }
        if rules.publish {
            let replaced = std::mem::replace(&mut self.store.token, server.held).generation;
            server.published(replaced, rules);
            if rules.put_clears_mark {
                self.take_mark_away();
            }
        }
    }
}
