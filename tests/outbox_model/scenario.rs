//! Where it begins, and what may happen.

use super::state::State;

/// What may happen besides the ordinary course.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Troubles {
    pub(crate) crashes: bool,
    pub(crate) stops: bool,
    /// Connections fail, requests are slow, responses are lost.
    pub(crate) network: bool,
    pub(crate) refusals: bool,
    /// Of commits.
    pub(crate) lost_replies: bool,
    pub(crate) consents: bool,
    pub(crate) cancels: bool,
    pub(crate) decisions: bool,
    pub(crate) restore: bool,
    /// The message comes with a key.
    pub(crate) key: bool,
    /// A line of a batch is recorded again and again.
    pub(crate) batch: bool,
    /// An application inserts rows into its own table.
    pub(crate) inbox: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: State,
    pub(crate) troubles: Troubles,
}

const NONE: Troubles = Troubles {
    crashes: false,
    stops: false,
    network: false,
    refusals: false,
    lost_replies: false,
    consents: false,
    cancels: false,
    decisions: false,
    restore: false,
    key: false,
    batch: false,
    inbox: false,
};

impl Scenario {
    /// A message waits, and its worker is killed or stopped, or its calls fail.
    pub(crate) fn processes(faults: u8) -> Self {
        Self {
            name: "crashes, stops, network",
            start: State::new(1, faults).consented().queued(),
            troubles: Troubles { crashes: true, stops: true, network: true, decisions: true, ..NONE },
        }
    }

    /// Replies of the ledger are lost.
    pub(crate) fn lost_replies(faults: u8) -> Self {
        Self {
            name: "lost commit replies",
            start: State::new(0, faults).consented().queued(),
            troubles: Troubles { crashes: true, network: true, lost_replies: true, ..NONE },
        }
    }

    /// The user consents again, and a second message is recorded.
    pub(crate) fn consents(wishes: u8, faults: u8) -> Self {
        Self {
            name: "a second consent",
            start: State::new(wishes, faults).consented(),
            troubles: Troubles { network: true, refusals: true, consents: true, cancels: true, ..NONE },
        }
    }

    /// An operator decides.
    pub(crate) fn decisions(wishes: u8, faults: u8) -> Self {
        Self {
            name: "decisions",
            start: State::new(wishes, faults).consented().queued(),
            troubles: Troubles { stops: true, network: true, consents: true, decisions: true, ..NONE },
        }
    }

    /// An operator sends again, while the user consents and a second message is recorded.
    pub(crate) fn sent_again() -> Self {
        Self {
            name: "sent again",
            start: State::new(3, 1).consented().queued(),
            troubles: Troubles { network: true, consents: true, decisions: true, ..NONE },
        }
    }

    /// The sender of a message without a grant does not hear that it was recorded.
    pub(crate) fn key(faults: u8) -> Self {
        let mut start = State::new(1, faults);
        start.weixin.endless = true;
        Self {
            name: "an idempotency key",
            start,
            troubles: Troubles { crashes: true, network: true, lost_replies: true, key: true, ..NONE },
        }
    }

    /// A batch with one line is run again, also with another content, beside another message to its user.
    pub(crate) fn batch(wishes: u8, faults: u8) -> Self {
        Self {
            name: "a line of a batch",
            start: State::new(wishes, faults).consented(),
            troubles: Troubles { network: true, refusals: true, batch: true, ..NONE },
        }
    }

    /// A backup is restored while the processes go on.
    pub(crate) fn restore(wishes: u8, faults: u8) -> Self {
        Self {
            name: "a restored backup",
            start: State::new(wishes, faults).consented(),
            troubles: Troubles { network: true, decisions: true, restore: true, ..NONE },
        }
    }

    /// A backup is restored while a process repeats a settlement whose reply was lost.
    pub(crate) fn late_restore() -> Self {
        Self {
            name: "a restore beside a lost reply",
            start: State::new(1, 3).consented().queued(),
            troubles: Troubles { network: true, lost_replies: true, restore: true, ..NONE },
        }
    }

    /// Two copiers empty the table of an application.
    pub(crate) fn inbox(wishes: u8, faults: u8) -> Self {
        let mut start = State::new(wishes, faults);
        start.weixin.endless = true;
        Self {
            name: "an inbox",
            start,
            troubles: Troubles { crashes: true, lost_replies: true, inbox: true, ..NONE },
        }
    }
}
