//! Looks at every state that can be reached, nearest first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::properties::{wrong_at_rest, wrong_step};
use super::rules::Rules;
use super::scenario::Scenario;
use super::state::State;
use super::step::{Act, Step, World};

pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) at_rest: usize,
    pub(crate) wrong: Option<Wrong>,
}

/// The shortest way to where something is wrong.
pub(crate) struct Wrong {
    pub(crate) what: &'static str,
    pub(crate) path: Vec<(Step, State)>,
}

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    let world = World { rules, troubles: &scenario.troubles };
    let mut search = Search { scenario, world, states: vec![], parents: vec![], known: HashMap::new() };
    search.meet(scenario.start, 0);
    let (mut at, mut at_rest) = (0, 0);
    while at < search.states.len() {
        let state = search.states[at];
        let steps = search.world.steps(&state);
        for (step, next) in &steps {
            if let Some(what) = wrong_step(&state, *step, next) {
                return search.found(at_rest, Some(search.wrong(at, what)));
            }
        }
        if steps.iter().all(|(step, _)| matches!(step.act, Act::Wish(_) | Act::Fault(_))) {
            at_rest += 1;
            if let Some(what) = wrong_at_rest(&state) {
                let path = search.path(at);
                return search.found(at_rest, Some(Wrong { what, path }));
            }
        }
        steps.into_iter().for_each(|(_, next)| search.meet(next, at));
        at += 1;
    }
    search.found(at_rest, None)
}

struct Search<'a> {
    scenario: &'a Scenario,
    world: World<'a>,
    states: Vec<State>,
    /// From where each was first reached.
    parents: Vec<usize>,
    known: HashMap<State, usize>,
}

impl Search<'_> {
    fn found(&self, at_rest: usize, wrong: Option<Wrong>) -> Found {
        Found { states: self.states.len(), at_rest, wrong }
    }

    fn meet(&mut self, state: State, parent: usize) {
        let state = state.canonical();
        if let Entry::Vacant(new) = self.known.entry(state) {
            new.insert(self.states.len());
            self.states.push(state);
            self.parents.push(parent);
        }
    }

    fn wrong(&self, at: usize, what: &'static str) -> Wrong {
        let mut path = self.path(at);
        let last = path.last().map_or(self.scenario.start, |(_, state)| *state);
        let wrong = |(step, next): &(Step, State)| wrong_step(&last, *step, next).is_some();
        path.extend(self.world.steps(&last).into_iter().find(wrong));
        Wrong { what, path }
    }

    /// The steps that lead there, with the workers named throughout as at the start.
    fn path(&self, mut at: usize) -> Vec<(Step, State)> {
        let mut goals = Vec::new();
        while at != 0 {
            goals.push(self.states[at]);
            at = self.parents[at];
        }
        let mut state = self.scenario.start;
        let towards = |goal: State| {
            let steps = self.world.steps(&state);
            let found = steps.into_iter().find(|(_, next)| next.canonical() == goal).unwrap();
            state = found.1;
            found
        };
        goals.into_iter().rev().map(towards).collect()
    }
}
