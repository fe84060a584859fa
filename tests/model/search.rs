//! The search over the states of the model.

use super::breadth_first;
use super::properties::{check_rest, check_step};
use super::rules::Rules;
use super::scenario::Scenario;
use super::state::{Server, State};
use super::step::{Act, Model, Step};

pub(crate) type Found = breadth_first::Found<Step, State>;
pub(crate) type Violation = breadth_first::Violation<Step, State>;

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    breadth_first::search(&Model { rules, scenario }, scenario.start)
}

/// The path to a violation: after each step its server, the token that it holds, and the stored one.
pub(crate) fn trace(violation: &Violation) -> String {
    violation.trace(|Step { act, at }, after| {
        let Server { held, attempt, .. } = after.servers[at];
        let (server, stage, stored) = (["A", "B", "C"][at], attempt.stage, after.store.token);
        format!("{act:?}; {server}: {stage:?}, holds {held:?}; stored: {stored:?}; valid: {}", after.newest)
    })
}

impl breadth_first::Model for Model<'_> {
    type State = State;
    type Step = Step;

    const ENDLESS: Option<&'static str> = Some("the servers never come to rest");

    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        self.steps(state)
    }

    fn canonical(&self, state: State) -> State {
        state.canonical(self.rules)
    }

    fn is_counted(step: Step) -> bool {
        matches!(step.act, Act::Counted(_))
    }

    fn check_step(&self, before: &State, step: Step, after: &State) -> Option<&'static str> {
        check_step(self.scenario, before, step, after)
    }

    fn check_rest(&self, state: &State) -> Option<&'static str> {
        check_rest(state)
    }

    fn reports(&self, state: &State) -> Option<Vec<(Step, State)>> {
        (self.scenario.reports && !state.reported).then(|| self.reports(state))
    }
}
