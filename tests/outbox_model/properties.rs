//! The search over the states of the model: what must never happen, and what must be so when nothing more happens.

use wxsub_outbox::state::{GrantState, MessageState};

use super::breadth_first::{self, Model};
use super::rules::Rules;
use super::scenario::{Scenario, Trouble};
use super::state::{GRANTS, Ledger, MESSAGES, Message, Settlement, Stage, State};
use super::step::{Act, Step, World};

type Found = breadth_first::Found<Step, State>;
type Violation = breadth_first::Violation<Step, State>;

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    breadth_first::search(&World { rules, scenario }, scenario.start)
}

/// The path to a violation: after each step its worker and its message, and the grants.
pub(crate) fn trace(violation: &Violation) -> String {
    violation.trace(|Step { act, worker, message }, after| {
        let (name, task) = (["A", "B"][worker], after.workers[worker].task);
        let Ledger { messages, grants, .. } = after.ledger;
        format!("{act:?}; {name}: {task:?}; message {message}: {:?}; grants {grants:?}", messages[message])
    })
}

impl Model for World<'_> {
    type State = State;
    type Step = Step;

    /// A claim can be given back and made again for ever.
    const ENDLESS: Option<&'static str> = None;

    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        self.steps(state)
    }

    fn canonical(&self, state: State) -> State {
        state.canonical()
    }

    fn is_counted(step: Step) -> bool {
        matches!(step.act, Act::Wish(_) | Act::Fault(_))
    }

    fn check_step(&self, before: &State, step: Step, after: &State) -> Option<&'static str> {
        if step.act == Act::Post && !is_durable(before, step) {
            return Some("a message is posted without a durable attempt");
        }
        if too_many_posts(after) {
            return Some("two messages of one grant may have been sent");
        }
        let open = |grant: &&Option<GrantState>| **grant == Some(GrantState::Open);
        if after.ledger.grants.iter().filter(open).count() > 1 {
            return Some("two grants of one user are open");
        }
        let unsent = |state| matches!(state, MessageState::Refused | MessageState::NotSent);
        let stands = |at: &usize| {
            after.noted[*at].keyed && after.ledger.messages[*at].is_some_and(|row| !unsent(row.state))
        };
        if (0..MESSAGES).filter(stands).count() > 1 {
            return Some("one key stands for two messages");
        }
        if step.act == Act::Reclaim && is_running(before, step) {
            return Some("the attempt of a living worker is reclaimed");
        }
        if is_refused_for_another(before, step, after) {
            return Some("a message uses up the consent of another one's grant");
        }
        after.inbox.violation().or_else(|| (0..MESSAGES).find_map(|at| wrong_change(before, after, at)))
    }

    fn check_rest(&self, state: &State) -> Option<&'static str> {
        if let Some(violation) = state.inbox.violation_at_rest() {
            return Some(violation);
        }
        // Where the table is the matter, no message is sent.
        if self.has(Trouble::Inbox) {
            return None;
        }
        let ledger = &state.ledger;
        if ledger.messages.iter().flatten().any(|row| !row.state.is_final()) {
            return Some("a message stays unfinished for ever");
        }
        let unfinished = |grant: &GrantState| matches!(grant, GrantState::Reserved | GrantState::Attempting);
        if ledger.grants.iter().flatten().any(unfinished) {
            return Some("a grant stays in use for ever");
        }
        let doubted = |grant: usize| {
            let undecided = |row: &Message| {
                row.grant.map(usize::from) == Some(grant)
                    && row.state == MessageState::MaybeSent
                    && row.decision.is_none()
            };
            ledger.messages.iter().flatten().any(undecided) || state.restored
        };
        let in_doubt = |grant: &usize| ledger.grants[*grant] == Some(GrantState::InDoubt);
        if (0..GRANTS).filter(in_doubt).any(|grant| !doubted(grant)) {
            return Some("a grant is in doubt for ever");
        }
        None
    }
}

/// A POST needs its row, unless a backup was restored meanwhile.
fn is_durable(before: &State, step: Step) -> bool {
    let Some(task) = before.workers[step.worker].task else { return false };
    before.restored
        || before.ledger.messages[step.message].is_some_and(|row| {
            let recorded = matches!(row.state, MessageState::Attempting | MessageState::MaybeSent);
            recorded && row.attempt == task.attempt && row.decision.is_none()
        })
}

/// At most one POST of a message, and of a grant, is accepted or not answered; one more for each time an operator sent again.
fn too_many_posts(state: &State) -> bool {
    let of_grant = |grant: usize| {
        let under = state.noted.iter().filter(|noted| noted.under.map(usize::from) == Some(grant));
        under.map(|noted| noted.unproven).sum::<u8>() > 1 + state.sent_again[grant]
    };
    (0..GRANTS).any(of_grant) || state.noted.iter().any(|noted| noted.unproven > 1)
}

/// A task has this attempt, and has not stood still since its claim.
fn is_running(before: &State, step: Step) -> bool {
    let Some(row) = before.ledger.messages[step.message] else { return false };
    before.workers.iter().enumerate().any(|(at, worker)| {
        worker.task.is_some_and(|task| {
            let owns =
                row.owner.is_some_and(|owner| usize::from(owner.worker) == at && owner.boot == task.boot);
            owns && usize::from(task.message) == step.message && task.attempt == row.attempt && !task.stopped
        })
    })
}

/// Weixin answers 43101 to a message with a grant of its own, because another message used that up.
fn is_refused_for_another(before: &State, step: Step, after: &State) -> bool {
    if step.act != Act::Handle || before.risked {
        return false;
    }
    let answer = after.workers[step.worker].task.map(|task| task.stage);
    let grant = before.ledger.messages[step.message].and_then(|row| row.grant).map(usize::from);
    answer == Some(Stage::Answered(Settlement::NoConsent))
        && grant.is_some_and(|grant| {
            let used_by = before.weixin.used_by[grant].map(usize::from);
            before.worth[grant] && used_by.is_some_and(|by| by != step.message)
        })
}

/// What is wrong with how a row changed.
fn wrong_change(before: &State, after: &State, at: usize) -> Option<&'static str> {
    let (was, is) = (before.ledger.messages[at], after.ledger.messages[at]);
    let Some(is) = is else {
        let lost = was.is_some() && !after.restored;
        return lost.then_some("a recorded message is lost");
    };
    if was.is_some_and(|was| was == is) || (after.restored && !before.restored) {
        return None;
    }
    let noted = after.noted[at];
    match is.state {
        MessageState::Queued | MessageState::NotSent | MessageState::Cancelled if noted.unproven > 0 => {
            return Some("a message that may have been sent counts as not sent");
        }
        MessageState::Sent if noted.accepted == 0 => {
            return Some("a message is sent that Weixin did not accept");
        }
        _ => {}
    }
    let decided = was.and_then(|was| was.decision.map(|decision| (was, decision)));
    match decided {
        Some((_, decision)) if is.decision != Some(decision) => Some("a decision is written twice"),
        Some((was, _)) if is.state != was.state => Some("an outcome changes after its decision"),
        _ => None,
    }
}
