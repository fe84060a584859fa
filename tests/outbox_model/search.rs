//! The search over the states of the model.

use super::breadth_first::{self, Model};
use super::properties::{wrong_at_rest, wrong_step};
use super::rules::Rules;
use super::scenario::{Scenario, Trouble};
use super::state::{Ledger, State};
use super::step::{Act, Step, World};

pub(crate) type Found = breadth_first::Found<Step, State>;
pub(crate) type Violation = breadth_first::Violation<Step, State>;

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
        wrong_step(before, step, after)
    }

    fn check_rest(&self, state: &State) -> Option<&'static str> {
        // Where the table is the matter, no message is sent.
        state.inbox.violation_at_rest().or_else(|| wrong_at_rest(state).filter(|_| !self.has(Trouble::Inbox)))
    }
}
