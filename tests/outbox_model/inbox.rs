//! The table of an application, and two copiers that empty it. What becomes of the recorded messages is left out here.

use super::rules::{Rule, Rules};
use super::scenario::Trouble;
use super::state::{MESSAGES, Message, Noted, State, WORKERS};
use super::step::{Act, Fault, Steps, Wish, World};

pub(crate) const ROWS: usize = 2;

/// The rows in the order of their ids, and the copier of each process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inbox {
    pub(crate) rows: [Row; ROWS],
    pub(crate) copiers: [Option<Copying>; WORKERS],
    /// Only where copiers remember how far they are: rows below it were read.
    pub(crate) cursor: u8,
    /// What an observer notes.
    pub(crate) noted: [NotedRow; ROWS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    #[default]
    Absent,
    /// Inserted by a transaction that is open.
    Open,
    /// With its first or its second content.
    Committed {
        second: bool,
    },
    /// It stays with its error.
    Rejected,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Copying {
    pub(crate) row: u8,
    /// The content that was read.
    pub(crate) second: bool,
    pub(crate) stage: CopyStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CopyStage {
    /// It is to be recorded.
    Read,
    /// Recorded and to be deleted; or, the wrong way round, deleted and to be recorded.
    Half,
    /// The ledger knows another content under its id.
    Refused,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NotedRow {
    pub(crate) rolled_back: bool,
    /// The messages of its first and of its second content.
    pub(crate) messages: [u8; 2],
    /// A content was committed.
    pub(crate) committed: [bool; 2],
}

impl Inbox {
    fn is_locked(&self, row: usize) -> bool {
        self.copiers.iter().flatten().any(|copying| usize::from(copying.row) == row)
    }

    /// What is wrong with a table.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        let any = |wrong: fn(&NotedRow) -> bool| self.noted.iter().any(wrong);
        if any(|noted| noted.rolled_back && noted.messages != [0, 0]) {
            return Some("a row that was rolled back is a message");
        }
        any(|noted| noted.messages.iter().sum::<u8>() > 1).then_some("one row is two messages")
    }

    /// What is wrong where nothing more happens by itself.
    pub(crate) fn violation_at_rest(&self) -> Option<&'static str> {
        if self.rows.iter().any(|row| matches!(row, Row::Committed { .. })) {
            return Some("a row stays in the table for ever");
        }
        let is_lost = |(row, noted): (&Row, &NotedRow)| {
            *row == Row::Deleted
                && noted.committed.iter().zip(noted.messages).any(|(was, is)| *was && is == 0)
        };
        self.rows.iter().zip(&self.noted).any(is_lost).then_some("a committed row is lost")
    }
}

impl State {
    fn commit_row(&mut self, row: usize, second: bool) {
        self.inbox.rows[row] = Row::Committed { second };
        self.inbox.noted[row].committed[usize::from(second)] = true;
    }

    /// The ledger records a row, unless it knows its id.
    fn record_row(&mut self, copying: Copying, rules: &Rules) -> CopyStage {
        let row = usize::from(copying.row);
        match self.ledger.rows[row].filter(|_| rules.has(Rule::RowIdsAreKnown)) {
            Some((_, second)) if second != copying.second && rules.has(Rule::OtherContentStays) => {
                CopyStage::Refused
            }
            Some(_) => CopyStage::Half,
            None => {
                let at = self.free_message().unwrap();
                self.ledger.messages[at] = Some(Message::queued(None));
                self.ledger.rows[row] = Some((u8::try_from(at).unwrap(), copying.second));
                self.noted[at] = Noted { recorded: true, ..Noted::default() };
                self.inbox.noted[row].messages[usize::from(copying.second)] += 1;
                CopyStage::Half
            }
        }
    }

    fn delete_row(&mut self, row: usize) {
        if self.inbox.rows[row] != Row::Absent {
            self.inbox.rows[row] = Row::Deleted;
        }
    }

    /// Forgets the ids of rows, as it would do with those of messages that were over a month ago.
    fn forget_rows(&mut self) {
        self.ledger.rows = Default::default();
    }
}

impl World<'_> {
    /// What the application and the copiers do.
    pub(crate) fn inbox(&self, steps: &mut Steps<'_>) {
        let (state, rules) = (steps.state, self.rules);
        for row in 0..ROWS {
            steps.message = row;
            match state.inbox.rows[row] {
                Row::Absent => steps.wish(true, Wish::Insert, |next| next.inbox.rows[row] = Row::Open),
                Row::Open => {
                    steps.may(Act::CommitRow, |next| next.commit_row(row, false));
                    steps.may(Act::RollBackRow, |next| {
                        next.inbox.rows[row] = Row::Deleted;
                        next.inbox.noted[row].rolled_back = true;
                    });
                }
                // The application deletes the row, and inserts one with the same id.
                Row::Committed { second: false } => {
                    let free = !rules.has(Rule::RowsAreLocked) || !state.inbox.is_locked(row);
                    steps.wish(free, Wish::Replace, |next| {
                        next.commit_row(row, true);
                        // It has withdrawn the first content itself.
                        next.inbox.noted[row].committed[0] = false;
                    });
                }
                Row::Committed { second: true } | Row::Rejected => {}
                // It does not know that its transaction was committed, and repeats it.
                Row::Deleted => {
                    let committed = state.inbox.noted[row].committed == [true, false];
                    steps.wish(committed, Wish::Insert, |next| next.commit_row(row, false));
                    steps.wish(committed, Wish::Replace, |next| next.commit_row(row, true));
                }
            }
        }
        let forgets = state.ledger.rows.iter().any(Option::is_some) && !rules.has(Rule::RowIdsStayKnown);
        steps.wish(forgets, Wish::Prune, State::forget_rows);
    }

    pub(crate) fn copier(&self, steps: &mut Steps<'_>) {
        let (state, rules, at) = (steps.state, self.rules, steps.worker);
        let Some(copying) = state.inbox.copiers[at] else { return self.read_row(steps) };
        let row = usize::from(copying.row);
        steps.message = row;
        let goes_on = |stage| Some(Copying { stage, ..copying });
        let has_room = state.free_message().is_some() || state.ledger.rows[row].is_some();
        let records = copying.stage == CopyStage::Read && rules.has(Rule::RecordedBeforeDeleted)
            || copying.stage == CopyStage::Half && !rules.has(Rule::RecordedBeforeDeleted);
        if copying.stage == CopyStage::Refused {
            return steps.may(Act::RejectRow, |next| {
                next.inbox.rows[row] = Row::Rejected;
                next.inbox.copiers[at] = None;
            });
        }
        if !records {
            return steps.may(Act::DeleteRow, |next| {
                next.delete_row(row);
                next.inbox.copiers[at] =
                    goes_on(CopyStage::Half).filter(|_| !rules.has(Rule::RecordedBeforeDeleted));
            });
        }
        if !has_room {
            return;
        }
        steps.may(Act::RecordRow, |next| {
            let stage = next.record_row(copying, rules);
            next.inbox.copiers[at] = goes_on(stage).filter(|_| rules.has(Rule::RecordedBeforeDeleted));
        });
        steps.fault(self.has(Trouble::LostReplies), Fault::RecordReplyIsLost, |next| {
            next.record_row(copying, rules);
            next.inbox.copiers[at] = None;
        });
    }

    fn read_row(&self, steps: &mut Steps<'_>) {
        let (state, rules, at) = (steps.state, self.rules, steps.worker);
        for row in 0..ROWS {
            let second = match state.inbox.rows[row] {
                Row::Committed { second } => second,
                Row::Open if !rules.has(Rule::OnlyCommittedRows) => false,
                _ => continue,
            };
            let number = u8::try_from(row).unwrap();
            let is_passed = !rules.has(Rule::NoPosition) && number < state.inbox.cursor;
            if is_passed || (rules.has(Rule::RowsAreLocked) && state.inbox.is_locked(row)) {
                continue;
            }
            steps.message = row;
            steps.may(Act::ReadRow, |next| {
                next.inbox.copiers[at] = Some(Copying { row: number, second, stage: CopyStage::Read });
                if !rules.has(Rule::NoPosition) {
                    next.inbox.cursor = number + 1;
                }
            });
        }
    }
}

const _: () = assert!(ROWS < MESSAGES);
