//! Three servers, the store between them and Weixin, at one moment.

pub(crate) const SERVERS: usize = 3;

/// A token as one of them knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Token {
    /// Weixin numbers what it issues; 0 is no token.
    pub(crate) id: u8,
    pub(crate) generation: u8,
    /// When it was asked for.
    pub(crate) asked: u8,
}

/// What comes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    Issued(Token),
    IssuedAlone(Token),
    /// `doubtful`: the record bears a mark, or the two may have been issued in the other order.
    Adopted {
        token: Token,
        marked: bool,
        raced: bool,
    },
    Elsewhere,
    /// Certainly without effect.
    Refused,
    /// Perhaps with effect.
    Lost,
}

/// Where an attempt stands: what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    None,
    Load,
    Mark,
    Call,
    /// The request is on its way.
    Wait,
    /// Weixin has issued this token; the reply is on its way, or read. The store was asked so many times.
    Put {
        id: u8,
        offers: u8,
    },
    /// The mark is taken away if there was certainly no call; the lease is given back.
    End {
        outcome: Outcome,
        unmark: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Attempt {
    pub(crate) stage: Stage,
    /// The newest generation known when it began.
    pub(crate) known: u8,
    pub(crate) rejected: u8,
    /// The generation it replaces.
    pub(crate) record: u8,
    /// What the clock said before the call.
    pub(crate) asked: u8,
    pub(crate) alone: bool,
    /// Whether the lease, as far as its clock says, goes on.
    pub(crate) trusted: bool,
    /// Its lease is the so-many-th; counted for a fence only.
    pub(crate) fence: u8,
}

impl Attempt {
    /// What it still needs to know once its outcome is known.
    pub(crate) fn ends(self, outcome: Outcome, unmark: bool) -> Self {
        let known = if matches!(outcome, Outcome::IssuedAlone(_)) { self.known } else { 0 };
        Self { stage: Stage::End { outcome, unmark }, known, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Server {
    pub(crate) held: Token,
    /// The newest generation ever seen.
    pub(crate) known: u8,
    pub(crate) rejected: u8,
    /// An attempt starts as soon as none is under way.
    pub(crate) due: bool,
    /// That is so because of another's mark.
    pub(crate) watches: bool,
    /// The newest generation known before the token held was fetched without the store.
    pub(crate) fetched_after: Option<u8>,
    /// When a call of its own ended that may have come after another's.
    pub(crate) unsettled: u8,
    pub(crate) attempt: Attempt,
    /// The store has it as the holder of the lease.
    pub(crate) leases: bool,
    /// The mark in the store is that of its attempt.
    pub(crate) marks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Store {
    pub(crate) token: Token,
    pub(crate) marked: bool,
    /// A lease whose holder no longer knows of it.
    pub(crate) forsaken_lease: bool,
    pub(crate) away: bool,
    /// The lease under which the token was put; counted for a fence only.
    pub(crate) fence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) servers: [Server; SERVERS],
    pub(crate) store: Store,
    /// The token that works: the last one issued.
    pub(crate) newest: u8,
    /// Requests on their way that nobody waits for any more.
    pub(crate) strays: u8,
    /// How many more refreshes may come due, and how much more may go wrong.
    pub(crate) wishes: u8,
    pub(crate) mishaps: u8,
    /// Somebody has told of the token that does not work.
    pub(crate) reported: bool,
}

impl State {
    /// Everybody holds the one token that was ever issued.
    pub(crate) fn warm() -> Self {
        let token = Token { id: 1, generation: 1, asked: 1 };
        let server = Server { held: token, known: 1, ..Server::default() };
        let store = Store { token, ..Store::default() };
        Self { servers: [server; SERVERS], store, newest: 1, ..Self::default() }
    }

    /// Nobody has a token, and everybody wants one.
    pub(crate) fn cold() -> Self {
        Self { servers: [Server { due: true, ..Server::default() }; SERVERS], ..Self::default() }
    }

    pub(crate) fn lease_is_free(&self) -> bool {
        !self.store.forsaken_lease && !self.servers.iter().any(|server| server.leases)
    }

    pub(crate) fn take_mark_away(&mut self) {
        self.store.marked = false;
        self.servers.iter_mut().for_each(|server| server.marks = false);
    }

    /// What a clock says that is right: later than everything before.
    pub(crate) fn now(&self) -> u8 {
        let times = self.servers.iter().flat_map(Server::times);
        times.chain([self.store.token.asked]).max().unwrap_or_default() + 1
    }
}

impl Server {
    pub(crate) fn is_calling(&self) -> bool {
        matches!(self.attempt.stage, Stage::Call | Stage::Wait | Stage::Put { .. })
    }

    /// Every generation it has in mind.
    pub(crate) fn generations(&self) -> [u8; 6] {
        let Attempt { known, record, .. } = self.attempt;
        let ending = self.attempt.stage.token().map_or(0, |token| token.generation);
        let before = self.fetched_after.unwrap_or_default();
        [self.held.generation, self.known, known, record, ending, before]
    }

    pub(crate) fn times(&self) -> [u8; 4] {
        let ending = self.attempt.stage.token().map_or(0, |token| token.asked);
        [self.held.asked, self.attempt.asked, ending, self.unsettled]
    }
}

impl Stage {
    pub(crate) fn token(self) -> Option<Token> {
        match self {
            Self::Put { id, .. } => Some(Token { id, ..Token::default() }),
            Self::End {
                outcome: Outcome::Issued(token) | Outcome::IssuedAlone(token) | Outcome::Adopted { token, .. },
                ..
            } => Some(token),
            _ => None,
        }
    }
}
