//! The search over the states of the model, and the properties that must hold.

use super::breadth_first;
use super::rules::Rules;
use super::scenario::Scenario;
use super::state::{Server, State};
use super::step::{Act, Counted, Model, Step};

type Found = breadth_first::Found<Step, State>;
type Violation = breadth_first::Violation<Step, State>;

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    breadth_first::search(&Model { rules, scenario }, scenario.start())
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
        let Step { act, at } = step;
        if act == Act::TakeLease && before.servers[at].is_blind && after.servers[at].holds_lease {
            return Some("a server that cannot read the record takes the lease");
        }
        if before.servers[at].is_foreign && after.servers[at].is_foreign && after.servers[at].held.id != 0 {
            return Some("a server adopts a token of another upstream");
        }
        let loses_data = matches!(act, Act::Counted(Counted::StoreLosesData | Counted::RecordBreaks(true)));
        if !loses_data && after.store.token.generation < before.store.token.generation {
            return Some("an older generation replaces a newer one in the store");
        }
        if !loses_data && after.store.token.requested_at < before.store.token.requested_at {
            return Some("an older token replaces a newer one in the store");
        }
        let is_unmarked = before.store.in_doubt && !after.store.in_doubt;
        if matches!(act, Act::Poll | Act::Counted(Counted::SpareLook)) && is_unmarked {
            let mut peers = before.servers.iter().enumerate().filter(|(server, _)| *server != at);
            if peers.any(|(_, peer)| peer.owns_marker) {
                return Some("a server clears the marker of a peer's call");
            }
        }
        let (held, holds) = (before.servers[at].held, after.servers[at].held);
        if holds.id != 0 && holds.generation < held.generation {
            return Some("a server goes back to an older generation");
        }
        let without_fault = before.faults_left == self.scenario.faults;
        if without_fault && act == Act::Call {
            if before.servers.iter().filter(|server| server.is_calling()).count() > 1 {
                return Some("two servers call Weixin at once without a fault");
            }
            if before.servers[at].attempt.known != before.store.token.generation {
                return Some("a call without a fault invalidates a token that its caller does not know");
            }
        }
        None
    }

    fn check_rest(&self, state: &State) -> Option<&'static str> {
        if state.store.is_broken {
            return Some("at rest, the record is broken");
        }
        if state.store.token.id != state.newest {
            return Some("at rest, the stored token is invalid");
        }
        if state.servers.iter().any(|server| server.due) {
            return Some("at rest, a refresh is due and never starts");
        }
        let same = state.servers.iter().all(|server| server.held == state.store.token);
        (!same).then_some("at rest, a server holds another token than the store")
    }

    fn reports(&self, state: &State) -> Option<Vec<(Step, State)>> {
        (self.scenario.reports && !state.reported).then(|| self.reports(state))
    }
}
