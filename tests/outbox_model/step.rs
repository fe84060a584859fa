//! What can happen next.

use wxsub_outbox::state::{Decision, MessageState};

use super::rules::{Rule, Rules};
use super::scenario::Scenario;
use super::scenario::Trouble::{self, *};
use super::state::{Message, Owner, Sender, Settlement, Stage, State, Task, WORKERS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    /// The worker, or none.
    pub(crate) worker: usize,
    /// The message, or none.
    pub(crate) message: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Claim,
    Receive,
    Post,
    GiveBack,
    Handle,
    Deliver,
    Settle,
    Release,
    BeAnother,
    GoOn,
    MarkGone,
    BeginMark,
    CommitMark,
    Reclaim,
    WindowOver,
    StrayArrives,
    StrayIsLost,
    Repeat,
    StoreKey,
    CommitRow,
    RollBackRow,
    ReadRow,
    RecordRow,
    DeleteRow,
    RejectRow,
    Wish(Wish),
    Fault(Fault),
}

/// What people and applications do. Counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Enqueue,
    Consent,
    Cancel,
    Decide(Decision),
    Backup,
    /// The batch is run again.
    Line {
        /// With another content in its line.
        changed: bool,
    },
    /// Old rows are deleted.
    Prune,
    /// A row is inserted into the inbox.
    Insert,
    /// A row of the inbox is inserted again, with another content.
    Replace,
}

/// What goes wrong. Counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    Stop,
    ConnectFails,
    RequestIsSlow,
    ResponseIsLost,
    Refuse,
    ClaimReplyIsLost,
    SettleReplyIsLost,
    EnqueueReplyIsLost,
    SenderCrashes,
    RecordReplyIsLost,
    Restore,
}

pub(crate) struct World<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) scenario: &'a Scenario,
}

pub(crate) struct Steps<'a> {
    pub(crate) state: &'a State,
    pub(crate) worker: usize,
    pub(crate) message: usize,
    found: Vec<(Step, State)>,
}

impl Steps<'_> {
    pub(crate) fn may(&mut self, act: Act, change: impl FnOnce(&mut State)) {
        let mut next = *self.state;
        change(&mut next);
        let (worker, message) = (self.worker, self.message);
        self.found.push((Step { act, worker, message }, next));
    }

    pub(crate) fn wish(&mut self, allowed: bool, wish: Wish, change: impl FnOnce(&mut State)) {
        if allowed && self.state.wishes > 0 {
            self.may(Act::Wish(wish), |next| {
                next.wishes -= 1;
                change(next);
            });
        }
    }

    pub(crate) fn fault(&mut self, allowed: bool, fault: Fault, change: impl FnOnce(&mut State)) {
        if allowed && self.state.faults > 0 {
            self.may(Act::Fault(fault), |next| {
                next.faults -= 1;
                change(next);
            });
        }
    }
}

impl World<'_> {
    pub(crate) fn has(&self, trouble: Trouble) -> bool {
        self.scenario.troubles.contains(&trouble)
    }

    pub(crate) fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Steps { state, worker: 0, message: 0, found: Vec::with_capacity(16) };
        self.outside(&mut steps);
        if self.has(Inbox) {
            self.inbox(&mut steps);
            steps.message = 0;
        }
        for message in 0..state.noted.len() {
            steps.message = message;
            if let Some(row) = state.ledger.messages[message] {
                self.message(&mut steps, row);
            }
        }
        for worker in 0..WORKERS {
            steps.worker = worker;
            steps.message = 0;
            self.worker(&mut steps);
            if self.has(Inbox) && !state.workers[worker].stopped {
                self.copier(&mut steps);
            }
        }
        steps.found
    }

    /// Applications, users, operators, and requests for which no worker waits.
    fn outside(&self, steps: &mut Steps<'_>) {
        let (state, rules) = (steps.state, self.rules);
        let can_record = state.free_message().is_some();
        let keyed_once = state.sender == Sender::Idle && !(self.has(Key) && state.noted[0].recorded);
        let admitted = state.admits(rules).is_some();
        steps.wish(can_record && admitted && keyed_once, Wish::Enqueue, |next| {
            next.enqueue(self.has(Key), rules);
        });
        let lose_reply = self.has(Key) && can_record && keyed_once && state.wishes > 0;
        steps.fault(lose_reply, Fault::EnqueueReplyIsLost, |next| {
            next.wishes -= 1;
            next.enqueue(true, rules);
            if next.sender == Sender::Idle {
                next.sender = Sender::Unsure;
            }
        });
        for changed in [false, true] {
            let records = self.has(Batch) && { *state }.line(changed, rules);
            steps.wish(records, Wish::Line { changed }, |next| {
                next.line(changed, rules);
            });
        }
        let loses_key = self.has(Batch) && !rules.has(Rule::BatchKeysStay) && state.ledger.is_key_over();
        steps.wish(loses_key, Wish::Prune, |next| next.ledger.key = None);
        steps.wish(self.has(Consents) && state.can_consent(rules), Wish::Consent, |next| {
            next.consent(rules);
        });
        steps.wish(self.has(Restore) && state.backup.is_none() && !state.restored, Wish::Backup, |next| {
            next.backup = Some(next.ledger);
        });
        steps.fault(state.backup.is_some(), Fault::Restore, |next| next.restore(rules));
        match state.sender {
            Sender::Unsure if state.ledger.key.is_some() || can_record => {
                steps.may(Act::Repeat, |next| next.repeat(rules));
            }
            Sender::KeyMissing(message) => {
                steps.may(Act::StoreKey, |next| {
                    next.ledger.key = Some(message);
                    next.sender = Sender::Idle;
                });
                steps.fault(true, Fault::SenderCrashes, |next| next.sender = Sender::Unsure);
            }
            Sender::Idle | Sender::Unsure => {}
        }
        for at in 0..state.weixin.strays.len() {
            if let Some(message) = state.weixin.strays[at] {
                steps.message = usize::from(message);
                steps.may(Act::StrayIsLost, |next| next.weixin.strays[at] = None);
                steps.may(Act::StrayArrives, |next| {
                    next.weixin.strays[at] = None;
                    next.handle(message);
                });
            }
        }
        if let Some((owner, seen)) = state.marking {
            steps.worker = usize::from(owner.worker);
            steps.may(Act::CommitMark, |next| next.commit_mark(owner, seen));
        }
    }

    /// What happens to a row, whichever worker has it.
    fn message(&self, steps: &mut Steps<'_>, row: Message) {
        let (state, rules, at) = (steps.state, self.rules, steps.message);
        let cancellable = row.state == MessageState::Queued
            || (!rules.has(Rule::CancelQueuedOnly) && row.state == MessageState::Attempting);
        steps.wish(self.has(Cancels) && cancellable, Wish::Cancel, |next| next.cancel(at, rules));
        let delayed = state.noted[at].window_over || !rules.has(Rule::DecisionDelay);
        let undecided = row.decision.is_none() || !rules.has(Rule::DecidedOnce);
        let decidable = row.state == MessageState::MaybeSent && undecided && delayed && self.has(Decisions);
        for decision in [Decision::AssumeSent, Decision::GiveUp, Decision::SendAgain] {
            let has_room = decision != Decision::SendAgain || state.can_send_again(row);
            steps
                .wish(decidable && has_room, Wish::Decide(decision), |next| next.decide(at, decision, rules));
        }
        let attempted = matches!(row.state, MessageState::Attempting | MessageState::MaybeSent);
        if attempted && !state.noted[at].window_over {
            steps.may(Act::WindowOver, |next| next.noted[at].window_over = true);
        }
        if let Some(owner) = row.owner
            && row.state == MessageState::Attempting
            && state.ledger.is_gone(owner)
            && rules.has(Rule::TwoTransactions)
        {
            steps.may(Act::Reclaim, |next| next.reclaim(at, rules));
        }
    }

    fn worker(&self, steps: &mut Steps<'_>) {
        let (state, rules, at) = (steps.state, self.rules, steps.worker);
        let worker = state.workers[at];
        let owner = worker.owner(at);
        // An earlier process of this worker, or one whose lease is over.
        let lapsed = owner.boot.checked_sub(u8::from(!worker.stopped));
        if let Some(boot) = lapsed.filter(|boot| *boot >= state.ledger.gone[at]) {
            let gone = Owner { boot, ..owner };
            match rules.has(Rule::TwoTransactions) {
                true => steps.may(Act::MarkGone, |next| next.ledger.gone[at] = boot + 1),
                false if state.marking.is_none() => steps.may(Act::BeginMark, |next| next.begin_mark(gone)),
                false => {}
            }
        }
        if worker.stopped {
            return steps.may(Act::GoOn, |next| next.workers[at].stopped = false);
        }
        steps.fault(self.has(Crashes), Fault::Crash, |next| next.crash(at));
        steps.fault(self.has(Stops), Fault::Stop, |next| {
            next.workers[at].stopped = true;
            if let Some(task) = &mut next.workers[at].task {
                task.stopped = true;
            }
        });
        let is_gone = state.ledger.is_gone(owner);
        if is_gone {
            steps.may(Act::BeAnother, |next| next.workers[at].boot += 1);
        }
        match worker.task {
            Some(task) => self.task(steps, task),
            None if (is_gone && rules.has(Rule::GoneClaimsNothing)) || self.has(Inbox) => {}
            None => {
                for message in 0..state.noted.len() {
                    if state.ledger.messages[message].is_some_and(|row| row.state == MessageState::Queued) {
                        steps.message = message;
                        steps.may(Act::Claim, |next| next.claim(at, message, rules));
                    }
                }
            }
        }
        self.releases(steps, owner);
    }

    /// A claim whose reply was lost, as the heartbeat shows.
    fn releases(&self, steps: &mut Steps<'_>, owner: Owner) {
        let state = steps.state;
        let task = state.workers[steps.worker].task;
        if self.rules.has(Rule::LostClaimsWait) && task.is_some_and(|task| task.stage == Stage::Claiming) {
            return;
        }
        for message in 0..state.noted.len() {
            let Some(row) = state.ledger.messages[message] else { continue };
            let has_it = |task: Task| {
                let known = task.stage != Stage::Claiming;
                known && (usize::from(task.message), task.attempt) == (message, row.attempt)
            };
            if row.state == MessageState::Attempting && row.owner == Some(owner) && !task.is_some_and(has_it)
            {
                steps.message = message;
                steps.may(Act::Release, |next| {
                    next.settle(message, row.attempt, owner, Settlement::NotSent, self.rules);
                });
            }
        }
    }

    /// What becomes of the message that a worker has.
    fn task(&self, steps: &mut Steps<'_>, task: Task) {
        let (state, rules, at) = (steps.state, self.rules, steps.worker);
        let message = usize::from(task.message);
        steps.message = message;
        let set = |stage: Stage| move |next: &mut State| next.workers[at].task = Some(Task { stage, ..task });
        match task.stage {
            Stage::Claiming => {
                steps.may(Act::Receive, set(Stage::Claimed));
                steps.fault(self.has(LostReplies), Fault::ClaimReplyIsLost, |next| {
                    next.workers[at].task = None;
                });
            }
            Stage::Claimed => {
                if state.noted[message].window_over && rules.has(Rule::PostWindow) {
                    return steps.may(Act::GiveBack, set(Stage::Ended(Settlement::NotSent)));
                }
                steps.may(Act::Post, |next| {
                    set(Stage::Posted)(next);
                    next.noted[message].unproven += 1;
                });
                steps.fault(self.has(Network), Fault::ConnectFails, set(Stage::Ended(Settlement::NotSent)));
            }
            Stage::Posted => {
                steps.may(Act::Handle, |next| {
                    let answer = next.handle(task.message);
                    set(Stage::Answered(answer))(next);
                });
                steps.fault(self.has(Refusals), Fault::Refuse, set(Stage::Answered(Settlement::Refused)));
                steps.fault(self.has(Network), Fault::RequestIsSlow, |next| {
                    next.stray(task.message);
                    set(Stage::Ended(Settlement::Unknown))(next);
                });
            }
            Stage::Answered(answer) => {
                steps.may(Act::Deliver, |next| {
                    if answer != Settlement::Sent {
                        next.noted[message].unproven -= 1;
                    }
                    set(Stage::Ended(answer))(next);
                });
                steps.fault(self.has(Network), Fault::ResponseIsLost, set(Stage::Ended(Settlement::Unknown)));
            }
            Stage::Ended(settlement) => {
                let owner = Owner { worker: u8::try_from(at).unwrap(), boot: task.boot };
                let settle = |next: &mut State| next.settle(message, task.attempt, owner, settlement, rules);
                steps.may(Act::Settle, |next| {
                    settle(next);
                    next.workers[at].task = None;
                });
                steps.fault(self.has(LostReplies), Fault::SettleReplyIsLost, settle);
            }
        }
    }
}
