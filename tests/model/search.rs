//! Looks at every state that can be reached, nearest first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::properties::{wrong_at_rest, wrong_step};
use super::rules::Rules;
use super::scenario::Scenario;
use super::state::State;
use super::step::{Act, Step, World};

pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) at_rest: usize,
    /// At how many of those it took a report.
    pub(crate) reported: usize,
    pub(crate) wrong: Option<Wrong>,
}

/// The shortest way to where something is wrong.
pub(crate) struct Wrong {
    pub(crate) what: &'static str,
    pub(crate) path: Vec<(Step, State)>,
}

pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Found {
    let world = World { rules, weather: &scenario.weather };
    let mut search =
        Search { scenario, world, states: vec![], parents: vec![], known: HashMap::default(), free: vec![] };
    search.meet(scenario.start, 0);
    let (mut at, mut at_rest, mut reported) = (0, 0, 0);
    let mut wrong = None;
    while at < search.states.len() && wrong.is_none() {
        let rests;
        (rests, wrong) = search.look_beyond(at);
        if rests && wrong.is_none() {
            at_rest += 1;
            if let Some(what) = wrong_at_rest(&search.states[at]) {
                if scenario.reports && !search.states[at].reported {
                    reported += 1;
                    search.report(at);
                } else {
                    wrong = Some(Wrong { what, path: search.path(at) });
                }
            }
        }
        at += 1;
    }
    if wrong.is_none()
        && let Some(at) = search.restless()
    {
        wrong = Some(Wrong { what: "they never come to rest", path: search.path(at) });
    }
    Found { states: search.states.len(), at_rest, reported, wrong }
}

struct Search<'a> {
    scenario: &'a Scenario,
    world: World<'a>,
    states: Vec<State>,
    /// From where each was first reached.
    parents: Vec<usize>,
    known: HashMap<State, usize, BuildHasherDefault<Mix>>,
    /// Steps that are not counted, from where to where.
    free: Vec<(usize, usize)>,
}

impl Search<'_> {
    /// Meets whatever can come next. Gives whether nothing does by itself, and the first thing that is wrong.
    fn look_beyond(&mut self, at: usize) -> (bool, Option<Wrong>) {
        let state = self.states[at];
        let mut rests = true;
        for (step, next) in self.world.steps(&state) {
            if let Some(what) = wrong_step(self.scenario, &state, step, &next) {
                let mut path = self.path(at);
                let last = path.last().map_or(self.scenario.start, |(_, state)| *state);
                let wrong =
                    |(step, next): &(Step, State)| wrong_step(self.scenario, &last, *step, next).is_some();
                path.extend(self.world.steps(&last).into_iter().find(wrong));
                return (false, Some(Wrong { what, path }));
            }
            let met = self.meet(next, at);
            if !matches!(step.act, Act::Counted(_)) && met != at {
                rests = false;
                self.free.push((at, met));
            }
        }
        (rests, None)
    }

    fn report(&mut self, at: usize) {
        for (_, next) in self.world.reports(&self.states[at]) {
            self.meet(next, at);
        }
    }

    fn meet(&mut self, state: State, parent: usize) -> usize {
        let state = state.canonical(self.world.rules.generations);
        match self.known.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.states.push(state);
                self.parents.push(parent);
                *new.insert(self.states.len() - 1)
            }
        }
    }

    /// The steps that lead there, with servers and tokens named throughout as at the start.
    fn path(&self, mut at: usize) -> Vec<(Step, State)> {
        let mut goals = Vec::new();
        while at != 0 {
            goals.push(self.states[at]);
            at = self.parents[at];
        }
        let mut state = self.scenario.start;
        let towards = |goal: State| {
            let steps = [self.world.steps(&state), self.world.reports(&state)].concat();
            let leads = |(_, next): &(Step, State)| next.canonical(self.world.rules.generations) == goal;
            let found = steps.into_iter().find(leads).unwrap();
            state = found.1;
            found
        };
        goals.into_iter().rev().map(towards).collect()
    }

    /// A state to which they can come back for ever, if there is one.
    fn restless(&self) -> Option<usize> {
        let mut coming = vec![0_usize; self.states.len()];
        self.free.iter().for_each(|(_, to)| coming[*to] += 1);
        let mut ready: Vec<_> = (0..coming.len()).filter(|at| coming[*at] == 0).collect();
        while let Some(at) = ready.pop() {
            // They were found in the order of where they begin.
            let first = self.free.partition_point(|(from, _)| *from < at);
            for (_, to) in self.free[first..].iter().take_while(|(from, _)| *from == at) {
                coming[*to] -= 1;
                if coming[*to] == 0 {
                    ready.push(*to);
                }
            }
        }
        coming.iter().position(|coming| *coming > 0)
    }
}

/// Quick, and the same every time.
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
