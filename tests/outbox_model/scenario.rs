//! Where it begins, and what may happen.

use super::state::State;
use Trouble::*;

/// What may happen besides the ordinary course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Crashes,
    Stops,
    /// Connections fail, requests are slow, responses are lost.
    Network,
    Refusals,
    /// Of commits.
    LostReplies,
    Consents,
    Cancels,
    Decisions,
    Restore,
    /// The message comes with a key.
    Key,
    /// A line of a batch is recorded again and again.
    Batch,
    /// An application inserts rows into its own table.
    Inbox,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: State,
    pub(crate) troubles: &'static [Trouble],
}

impl Scenario {
    fn new(name: &'static str, start: State, troubles: &'static [Trouble]) -> Self {
        Self { name, start, troubles }
    }

    /// A message waits, and its worker is killed or stopped, or its calls fail.
    pub(crate) fn processes(faults: u8) -> Self {
        let start = State::new(1, faults).consented().queued();
        Self::new("crashes, stops, network", start, &[Crashes, Stops, Network, Decisions])
    }

    /// Replies of the ledger are lost.
    pub(crate) fn lost_replies(faults: u8) -> Self {
        let start = State::new(0, faults).consented().queued();
        Self::new("lost commit replies", start, &[Crashes, Network, LostReplies])
    }

    /// The user consents again, and a second message is recorded.
    pub(crate) fn consents(wishes: u8, faults: u8) -> Self {
        let start = State::new(wishes, faults).consented();
        Self::new("a second consent", start, &[Network, Refusals, Consents, Cancels])
    }

    /// An operator decides.
    pub(crate) fn decisions(wishes: u8, faults: u8) -> Self {
        let start = State::new(wishes, faults).consented().queued();
        Self::new("decisions", start, &[Stops, Network, Consents, Decisions])
    }

    /// An operator sends again, while the user consents and a second message is recorded.
    pub(crate) fn sent_again() -> Self {
        let start = State::new(3, 1).consented().queued();
        Self::new("sent again", start, &[Network, Consents, Decisions])
    }

    /// The sender of a message without a grant does not hear that it was recorded.
    pub(crate) fn key(faults: u8) -> Self {
        let mut start = State::new(1, faults);
        start.weixin.endless = true;
        Self::new("an idempotency key", start, &[Crashes, Network, LostReplies, Key])
    }

    /// A batch with one line is run again, also with another content, beside another message to its user.
    pub(crate) fn batch(wishes: u8, faults: u8) -> Self {
        let start = State::new(wishes, faults).consented();
        Self::new("a line of a batch", start, &[Network, Refusals, Batch])
    }

    /// A backup is restored while the processes go on.
    pub(crate) fn restore(wishes: u8, faults: u8) -> Self {
        let start = State::new(wishes, faults).consented();
        Self::new("a restored backup", start, &[Network, Decisions, Restore])
    }

    /// A backup is restored while a process repeats a settlement whose reply was lost.
    pub(crate) fn late_restore() -> Self {
        let start = State::new(1, 3).consented().queued();
        Self::new("a restore beside a lost reply", start, &[Network, LostReplies, Restore])
    }

    /// Two copiers empty the table of an application.
    pub(crate) fn inbox(wishes: u8, faults: u8) -> Self {
        let mut start = State::new(wishes, faults);
        start.weixin.endless = true;
        Self::new("an inbox", start, &[Crashes, LostReplies, Inbox])
    }
}
