//! The state of three servers, their store and Weixin.

use super::rules::{Rule, Rules};

pub(crate) const SERVERS: usize = 3;

/// A token as a server or the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Token {
    /// The number that Weixin gave it. 0 is no token.
    pub(crate) id: u8,
    pub(crate) generation: u8,
    /// When it was requested.
    pub(crate) requested_at: u8,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    Issued(Token),
    IssuedWithoutLease(Token),
    /// `in_doubt`: the record has a marker. `lost_race`: the two tokens may have been issued in the other order.
    Adopted {
        token: Token,
        in_doubt: bool,
        lost_race: bool,
    },
    LeaseHeldByPeer,
    /// The call certainly had no effect.
    Refused,
    /// The effect of the call is unknown.
    Lost,
}

/// The next step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    None,
    Load,
    Mark,
    Call,
    /// The request is in flight.
    Wait,
    /// Weixin has issued this token. The attempt tried to store it this many times.
    Put {
        id: u8,
        store_attempts: u8,
    },
    /// Releases the lease, and clears the marker if there was certainly no call.
    End {
        outcome: Outcome,
        clears_marker: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Attempt {
    pub(crate) stage: Stage,
    /// The highest generation known at its start.
    pub(crate) known: u8,
    pub(crate) rejected: u8,
    /// The generation it replaces.
    pub(crate) record: u8,
    /// The time before the call.
    pub(crate) requested_at: u8,
    pub(crate) without_lease: bool,
    /// Whether the lease is still valid by the clock of its holder.
    pub(crate) lease_trusted: bool,
    /// The number of its lease, used for a fence only.
    pub(crate) fence: u8,
}

impl Attempt {
    /// The attempt at its end, with only the state that the end needs.
    pub(crate) fn ends(self, outcome: Outcome, clears_marker: bool) -> Self {
        let known = if matches!(outcome, Outcome::IssuedWithoutLease(_)) { self.known } else { 0 };
        Self { stage: Stage::End { outcome, clears_marker }, known, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Server {
    pub(crate) held: Token,
    /// The highest generation ever seen.
    pub(crate) known: u8,
    pub(crate) rejected: u8,
    /// An attempt starts as soon as none is running.
    pub(crate) due: bool,
    /// The attempt is due because of a peer's marker.
    pub(crate) awaits_peer: bool,
    /// The highest generation known before the current token was fetched without lease.
    pub(crate) unleased_since: Option<u8>,
    /// The end of its last call with unknown effect.
    pub(crate) unconfirmed_call_at: u8,
    pub(crate) attempt: Attempt,
    /// The store has this server as the holder of the lease.
    pub(crate) holds_lease: bool,
    /// The marker in the store belongs to its attempt.
    pub(crate) owns_marker: bool,
    /// The marker in the store belongs to the call of its current token, which is not stored yet.
    pub(crate) has_marker_of_held: bool,
    /// It cannot read the record.
    pub(crate) is_blind: bool,
    /// Its clock is behind, so its generations are no times. They only count.
    pub(crate) is_behind: bool,
    /// It has another upstream. Its own tokens are not modelled.
    pub(crate) is_foreign: bool,
    /// It has yet to read the record: a change was announced, or a change may have been missed.
    pub(crate) must_look: bool,
    /// It has read a peer's marker for its token.
    pub(crate) knows_marker: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Store {
    pub(crate) token: Token,
    pub(crate) in_doubt: bool,
    /// A lease that its holder no longer knows of.
    pub(crate) orphaned_lease: bool,
    /// That lease has no end.
    pub(crate) is_endless: bool,
    pub(crate) unavailable: bool,
    /// The token in the record cannot be read.
    pub(crate) is_broken: bool,
    /// The number of the lease under which the token was stored, used for a fence only.
    pub(crate) fence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) servers: [Server; SERVERS],
    pub(crate) store: Store,
    /// The valid token: the last one issued.
    pub(crate) newest: u8,
    /// Requests in flight whose caller has given up.
    pub(crate) orphaned_requests: u8,
    /// How many more refreshes may become due.
    pub(crate) refreshes_left: u8,
    /// How many more faults may happen.
    pub(crate) faults_left: u8,
    /// A client has reported the token as invalid.
    pub(crate) reported: bool,
}

impl State {
    /// All servers hold the only token ever issued.
    pub(crate) fn warm() -> Self {
        let token = Token { id: 1, generation: 1, requested_at: 1 };
        let server = Server { held: token, known: 1, ..Server::default() };
        let store = Store { token, ..Store::default() };
        Self { servers: [server; SERVERS], store, newest: 1, ..Self::default() }
    }

    /// No server has a token, and all need one.
    pub(crate) fn cold() -> Self {
        Self { servers: [Server { due: true, ..Server::default() }; SERVERS], ..Self::default() }
    }

    pub(crate) fn lease_is_free(&self, rules: &Rules) -> bool {
        let counts_as_free = self.store.is_endless && rules.has(Rule::EndlessLeaseIsFree);
        (!self.store.orphaned_lease || counts_as_free)
            && !self.servers.iter().any(|server| server.holds_lease)
    }

    pub(crate) fn clear_marker(&mut self) {
        self.store.in_doubt = false;
        for server in &mut self.servers {
            server.owns_marker = false;
            server.has_marker_of_held = false;
        }
    }

    /// The exact time: later than all earlier times.
    pub(crate) fn now(&self) -> u8 {
        let times = self.servers.iter().flat_map(Server::times);
        times.chain([self.store.token.requested_at]).max().unwrap_or_default() + 1
    }
}

impl Server {
    /// An attempt that starts now.
    pub(crate) fn new_attempt(&mut self) -> Attempt {
        self.due = false;
        Attempt { known: self.known, rejected: self.rejected, lease_trusted: true, ..Attempt::default() }
    }

    pub(crate) fn is_calling(&self) -> bool {
        matches!(self.attempt.stage, Stage::Call | Stage::Wait | Stage::Put { .. })
    }

    /// All generations in its state.
    pub(crate) fn generations(&self) -> [u8; 6] {
        let Attempt { known, record, .. } = self.attempt;
        let ending = self.attempt.stage.token().map_or(0, |token| token.generation);
        let before = self.unleased_since.unwrap_or_default();
        [self.held.generation, self.known, known, record, ending, before]
    }

    pub(crate) fn times(&self) -> [u8; 4] {
        let ending = self.attempt.stage.token().map_or(0, |token| token.requested_at);
        [self.held.requested_at, self.attempt.requested_at, ending, self.unconfirmed_call_at]
    }
}

impl Stage {
    pub(crate) fn token(self) -> Option<Token> {
        match self {
            Self::Put { id, .. } => Some(Token { id, ..Token::default() }),
            Self::End {
                outcome:
                    Outcome::Issued(token) | Outcome::IssuedWithoutLease(token) | Outcome::Adopted { token, .. },
                ..
            } => Some(token),
            _ => None,
        }
    }
}
