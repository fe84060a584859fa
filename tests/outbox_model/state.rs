//! What the model knows: the ledger's rows, the processes, Weixin, and what an observer of all would note.

use wxsub_outbox::state::{Decision, GrantState, MessageState};

use super::breadth_first::Ranks;
use super::inbox::{Inbox, ROWS};

pub(crate) const MESSAGES: usize = 3;
pub(crate) const GRANTS: usize = 2;
pub(crate) const WORKERS: usize = 2;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) backup: Option<Ledger>,
    pub(crate) workers: [Worker; WORKERS],
    /// Only where marking and reclaiming is one transaction: which worker it marks, and the attempts that it has seen.
    pub(crate) marking: Option<(Owner, [bool; MESSAGES])>,
    /// What the sender of a message with a key does not know yet.
    pub(crate) sender: Sender,
    pub(crate) inbox: Inbox,
    pub(crate) weixin: Weixin,
    pub(crate) noted: [Noted; MESSAGES],
    /// The consent of each grant added something at Weixin.
    pub(crate) worth: [bool; GRANTS],
    /// How often a message of each grant was sent again.
    pub(crate) sent_again: [u8; GRANTS],
    /// A consent or an operator brought two messages of one consent about, knowing the risk.
    pub(crate) risked: bool,
    pub(crate) restored: bool,
    pub(crate) wishes: u8,
    pub(crate) faults: u8,
}

/// Everything that is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ledger {
    pub(crate) messages: [Option<Message>; MESSAGES],
    /// In the order in which they were recorded.
    pub(crate) grants: [Option<GrantState>; GRANTS],
    /// Per worker: its boot ids below this one are gone.
    pub(crate) gone: [u8; WORKERS],
    /// The message of the key.
    pub(crate) key: Option<u8>,
    /// The message of each row of the inbox, and whether it is the row's second content.
    pub(crate) rows: [Option<(u8, bool)>; ROWS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) state: MessageState,
    pub(crate) attempt: u8,
    pub(crate) owner: Option<Owner>,
    pub(crate) grant: Option<u8>,
    pub(crate) decision: Option<Decision>,
}

/// A worker by its boot id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) worker: u8,
    pub(crate) boot: u8,
}

/// A process that sends one message at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Worker {
    pub(crate) boot: u8,
    /// It stands still, as after SIGSTOP.
    pub(crate) stopped: bool,
    pub(crate) task: Option<Task>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) message: u8,
    pub(crate) attempt: u8,
    pub(crate) boot: u8,
    /// It stood still since its claim.
    pub(crate) stopped: bool,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The claim is committed; its reply is on its way.
    Claiming,
    /// It may post.
    Claimed,
    /// The request is on its way to Weixin.
    Posted,
    /// Weixin's response is on its way.
    Answered(Settlement),
    /// The worker knows how it ended, and has not settled it.
    Ended(Settlement),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Settlement {
    Sent,
    /// 43101.
    NoConsent,
    /// Any other code.
    Refused,
    NotSent,
    Unknown,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sender {
    #[default]
    Idle,
    /// The reply to its commit was lost. It will ask again with the same key.
    Unsure,
    /// Only where a key is committed by itself: this message has none yet.
    KeyMissing(u8),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Weixin {
    /// The consent that the next message uses up, by its grant.
    pub(crate) consent: Option<u8>,
    /// The user has consented elsewhere, and the ledger has no grant for it.
    pub(crate) endless: bool,
    /// Which message has used up each consent.
    pub(crate) used_by: [Option<u8>; GRANTS],
    /// Requests for which no worker waits.
    pub(crate) strays: [Option<u8>; 2],
}

/// What an observer notes of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Noted {
    /// The grant that was the newest when it was recorded.
    pub(crate) under: Option<u8>,
    /// POSTs that were accepted or not answered.
    pub(crate) unproven: u8,
    /// POSTs that Weixin accepted.
    pub(crate) accepted: u8,
    /// More than 30 s have passed since its last claim, or 60 s since a restore.
    pub(crate) window_over: bool,
    /// It came with the key.
    pub(crate) keyed: bool,
    pub(crate) recorded: bool,
}

impl State {
    pub(crate) fn new(wishes: u8, faults: u8) -> Self {
        Self { wishes, faults, ..Self::default() }
    }

    /// With a consent that is recorded.
    pub(crate) fn consented(mut self) -> Self {
        self.ledger.grants[0] = Some(GrantState::Open);
        self.weixin.consent = Some(0);
        self.worth[0] = true;
        self
    }

    /// With a message in the queue, which has the newest grant if there is one.
    pub(crate) fn queued(mut self) -> Self {
        let at = self.free_message().unwrap();
        let under = self.ledger.newest();
        let grant = under.filter(|grant| self.ledger.grants[usize::from(*grant)] == Some(GrantState::Open));
        if let Some(grant) = grant {
            self.ledger.grants[usize::from(grant)] = Some(GrantState::Reserved);
        }
        self.ledger.messages[at] = Some(Message::queued(grant));
        self.noted[at] = Noted { under, recorded: true, ..Noted::default() };
        self
    }

    pub(crate) fn free_message(&self) -> Option<usize> {
        self.noted.iter().position(|noted| !noted.recorded)
    }

    /// States that differ only in which worker is which, or in how attempts are numbered, are one state.
    pub(crate) fn canonical(mut self) -> Self {
        (0..MESSAGES).for_each(|at| self.renumber_attempts(at));
        self.min(self.with_workers_swapped())
    }

    /// New numbers in the same order, without gaps.
    fn renumber_attempts(&mut self, at: usize) {
        let tasks = self.workers.iter_mut().filter_map(|worker| worker.task.as_mut());
        let of_tasks = tasks.filter(|task| usize::from(task.message) == at).map(|task| &mut task.attempt);
        let backup = self.backup.as_mut().and_then(|backup| backup.messages[at].as_mut());
        let rows =
            [self.ledger.messages[at].as_mut(), backup].into_iter().flatten().map(|row| &mut row.attempt);
        let attempts: Vec<_> = of_tasks.chain(rows).collect();
        let ranks = Ranks::new(attempts.iter().map(|attempt| **attempt));
        attempts.into_iter().for_each(|attempt| *attempt = ranks.rank(*attempt));
    }

    fn with_workers_swapped(mut self) -> Self {
        let swap = |owner: &mut Owner| owner.worker = 1 - owner.worker;
        self.workers.swap(0, 1);
        self.inbox.copiers.swap(0, 1);
        for ledger in [Some(&mut self.ledger), self.backup.as_mut()].into_iter().flatten() {
            ledger.gone.swap(0, 1);
            ledger.messages.iter_mut().flatten().filter_map(|message| message.owner.as_mut()).for_each(swap);
        }
        if let Some((owner, _)) = &mut self.marking {
            swap(owner);
        }
        self
    }
}

impl Ledger {
    pub(crate) fn newest(&self) -> Option<u8> {
        self.grants.iter().rposition(Option::is_some).map(|at| u8::try_from(at).unwrap())
    }

    pub(crate) fn newest_state(&self) -> Option<GrantState> {
        self.newest().and_then(|grant| self.grants[usize::from(grant)])
    }

    /// Whether the message of the key has ended.
    pub(crate) fn is_key_over(&self) -> bool {
        let row = self.key.and_then(|at| self.messages[usize::from(at)]);
        row.is_some_and(|row| row.state.is_final() && row.state != MessageState::MaybeSent)
    }

    pub(crate) fn is_gone(&self, owner: Owner) -> bool {
        owner.boot < self.gone[usize::from(owner.worker)]
    }
}

impl Message {
    pub(crate) fn queued(grant: Option<u8>) -> Self {
        Self { state: MessageState::Queued, attempt: 0, owner: None, grant, decision: None }
    }
}

impl Worker {
    pub(crate) fn owner(self, at: usize) -> Owner {
        Owner { worker: u8::try_from(at).unwrap(), boot: self.boot }
    }
}
