//! A breadth-first search over all reachable states.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::properties::{check_rest, check_step};
use super::rules::Rules;
use super::scenario::Scenario;
use super::state::State;
use super::step::{Act, Model, Step};

pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) at_rest: usize,
    /// How many of those needed a report.
    pub(crate) reported: usize,
    pub(crate) violation: Option<Violation>,
}

/// The shortest path to a violation.
pub(crate) struct Violation {
    pub(crate) what: &'static str,
    pub(crate) path: Vec<(Step, State)>,
}

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    let model = Model { rules, faults: &scenario.faults };
    let mut search = Search {
        scenario,
        model,
        states: vec![],
        parents: vec![],
        known: HashMap::default(),
        uncounted: vec![],
    };
    search.visit(scenario.start, 0);
    let (mut at, mut at_rest, mut reported) = (0, 0, 0);
    let mut violation = None;
    while at < search.states.len() && violation.is_none() {
        let rests;
        (rests, violation) = search.expand(at);
        if rests && violation.is_none() {
            at_rest += 1;
            if let Some(what) = check_rest(&search.states[at]) {
                if scenario.reports && !search.states[at].reported {
                    reported += 1;
                    search.report(at);
                } else {
                    violation = Some(Violation { what, path: search.path(at) });
                }
            }
        }
        at += 1;
    }
    if violation.is_none()
        && let Some(at) = search.find_cycle()
    {
        violation = Some(Violation { what: "the servers never come to rest", path: search.path(at) });
    }
    Found { states: search.states.len(), at_rest, reported, violation }
}

struct Search<'a> {
    scenario: &'a Scenario,
    model: Model<'a>,
    states: Vec<State>,
    /// The state from which each was first reached.
    parents: Vec<usize>,
    known: HashMap<State, usize, BuildHasherDefault<Mix>>,
    /// Steps that are not bounded: from and to.
    uncounted: Vec<(usize, usize)>,
}

impl Search<'_> {
    /// Visits all next states. Returns whether the state is at rest, and the first violation.
    fn expand(&mut self, at: usize) -> (bool, Option<Violation>) {
        let state = self.states[at];
        let mut rests = true;
        for (step, next) in self.model.steps(&state) {
            if let Some(what) = check_step(self.scenario, &state, step, &next) {
                let mut path = self.path(at);
                let last = path.last().map_or(self.scenario.start, |(_, state)| *state);
                let violation =
                    |(step, next): &(Step, State)| check_step(self.scenario, &last, *step, next).is_some();
                path.extend(self.model.steps(&last).into_iter().find(violation));
                return (false, Some(Violation { what, path }));
            }
            let reached = self.visit(next, at);
            if !matches!(step.act, Act::Counted(_)) && reached != at {
                rests = false;
                self.uncounted.push((at, reached));
            }
        }
        (rests, None)
    }

    fn report(&mut self, at: usize) {
        for (_, next) in self.model.reports(&self.states[at]) {
            self.visit(next, at);
        }
    }

    fn visit(&mut self, state: State, parent: usize) -> usize {
        let state = state.canonical(self.model.rules.generations);
        match self.known.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.states.push(state);
                self.parents.push(parent);
                *new.insert(self.states.len() - 1)
            }
        }
    }

    /// The steps that lead to a state, with servers and tokens numbered as at the start.
    fn path(&self, mut at: usize) -> Vec<(Step, State)> {
        let mut goals = Vec::new();
        while at != 0 {
            goals.push(self.states[at]);
            at = self.parents[at];
        }
        let mut state = self.scenario.start;
        let towards = |goal: State| {
            let steps = [self.model.steps(&state), self.model.reports(&state)].concat();
            let leads = |(_, next): &(Step, State)| next.canonical(self.model.rules.generations) == goal;
            let found = steps.into_iter().find(leads).unwrap();
            state = found.1;
            found
        };
        goals.into_iter().rev().map(towards).collect()
    }

    /// A state in a cycle of unbounded steps, if there is one.
    fn find_cycle(&self) -> Option<usize> {
        let mut incoming = vec![0_usize; self.states.len()];
        self.uncounted.iter().for_each(|(_, to)| incoming[*to] += 1);
        let mut ready: Vec<_> = (0..incoming.len()).filter(|at| incoming[*at] == 0).collect();
        while let Some(at) = ready.pop() {
            // The steps are sorted by their start.
            let first = self.uncounted.partition_point(|(from, _)| *from < at);
            for (_, to) in self.uncounted[first..].iter().take_while(|(from, _)| *from == at) {
                incoming[*to] -= 1;
                if incoming[*to] == 0 {
                    ready.push(*to);
                }
            }
        }
        incoming.iter().position(|incoming| *incoming > 0)
    }
}

/// A fast hash with the same result in every run.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
