//! A breadth-first search over all reachable states of a model, and what it found.

use std::fmt::Write as _;
use std::hash::Hash;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

/// A model with its bound and its properties.
pub(crate) trait Model {
    type State: Copy + Eq + Hash;
    type Step: Copy;

    /// The violation if the steps that are not bounded can go on for ever. Without it, they may.
    const ENDLESS: Option<&'static str>;

    /// All possible steps, with the states they lead to.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;

    /// States that differ only in names and numbers are one state.
    fn canonical(&self, state: Self::State) -> Self::State;

    /// Whether the number of such steps is bounded. All other steps happen sooner or later.
    fn is_counted(step: Self::Step) -> bool;

    /// What is wrong with a step.
    fn check_step(&self, before: &Self::State, step: Self::Step, after: &Self::State)
    -> Option<&'static str>;

    /// What is wrong with a state in which only counted steps are possible.
    fn check_rest(&self, state: &Self::State) -> Option<&'static str>;

    /// Steps that may help where something is wrong at rest.
    fn reports(&self, _: &Self::State) -> Option<Vec<(Self::Step, Self::State)>> {
        None
    }
}

/// All rules of a model, or all but one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<Rule> {
    pub(crate) dropped: Option<Rule>,
}

impl<Rule: Copy + Eq> Rules<Rule> {
    pub(crate) const ALL: Self = Self { dropped: None };

    pub(crate) fn without(rule: Rule) -> Self {
        Self { dropped: Some(rule) }
    }

    pub(crate) fn has(self, rule: Rule) -> bool {
        self.dropped != Some(rule)
    }
}

type Steps<M> = Vec<(<M as Model>::Step, <M as Model>::State)>;
type FoundIn<M> = Found<<M as Model>::Step, <M as Model>::State>;
type ViolationOf<M> = Violation<<M as Model>::Step, <M as Model>::State>;

pub(crate) struct Found<Step, State> {
    pub(crate) states: usize,
    pub(crate) at_rest: usize,
    /// How many of those needed a report.
    pub(crate) reported: usize,
    pub(crate) violation: Option<Violation<Step, State>>,
}

impl<Step, State> Found<Step, State> {
    pub(crate) fn summary(&self, name: &str) -> String {
        let Self { states, at_rest, reported, .. } = self;
        format!("{name}: {states} states, {at_rest} at rest, {reported} of them after a report")
    }
}

/// The shortest path to a violation.
pub(crate) struct Violation<Step, State> {
    pub(crate) what: &'static str,
    pub(crate) path: Vec<(Step, State)>,
}

impl<Step: Copy, State> Violation<Step, State> {
    /// The path from the start, one step a line, each with what `describe` says of it and the state after it.
    pub(crate) fn trace(&self, describe: impl Fn(Step, &State) -> String) -> String {
        let mut trace = format!("{}, after {} steps:\n", self.what, self.path.len());
        for (number, (step, after)) in self.path.iter().enumerate() {
            let _ = writeln!(trace, "  {:>2}. {}", number + 1, describe(*step, after));
        }
        trace
    }
}

/// Checks that the document has this row with these cells.
pub(crate) fn is_documented(document: &str, row: &str, cells: &str) {
    let found = document.lines().any(|line| line.starts_with(row) && line.contains(cells));
    assert!(found, "the document lacks {row} … {cells}");
}

pub(crate) fn search<M: Model>(model: &M, start: M::State) -> FoundIn<M> {
    let (states, parents, uncounted) = (IndexSet::default(), vec![], vec![]);
    let mut search = Search { model, start, states, parents, uncounted };
    search.visit(start, 0);
    let (mut at, mut at_rest, mut reported) = (0, 0, 0);
    let mut violation = None;
    while at < search.states.len() && violation.is_none() {
        let rests;
        (rests, violation) = search.expand(at);
        if rests && violation.is_none() {
            at_rest += 1;
            if let Some(what) = model.check_rest(&search.states[at]) {
                if let Some(reports) = model.reports(&search.states[at]) {
                    reported += 1;
                    for (_, next) in reports {
                        search.visit(next, at);
                    }
                } else {
                    violation = Some(Violation { what, path: search.path(at) });
                }
            }
        }
        at += 1;
    }
    if let Some(what) = M::ENDLESS.filter(|_| violation.is_none()) {
        violation = search.find_cycle().map(|at| Violation { what, path: search.path(at) });
    }
    Found { states: search.states.len(), at_rest, reported, violation }
}

struct Search<'a, M: Model> {
    model: &'a M,
    start: M::State,
    states: IndexSet<M::State, FxBuildHasher>,
    /// The state from which each was first reached.
    parents: Vec<usize>,
    /// Steps that are not bounded: from and to.
    uncounted: Vec<(usize, usize)>,
}

impl<M: Model> Search<'_, M> {
    /// Visits all next states. Returns whether the state is at rest, and the first violation.
    fn expand(&mut self, at: usize) -> (bool, Option<ViolationOf<M>>) {
        let state = self.states[at];
        let mut rests = true;
        for (step, next) in self.model.steps(&state) {
            if let Some(what) = self.model.check_step(&state, step, &next) {
                let mut path = self.path(at);
                let last = path.last().map_or(self.start, |(_, state)| *state);
                let is_violation =
                    |(step, next): &(M::Step, M::State)| self.model.check_step(&last, *step, next).is_some();
                path.extend(self.model.steps(&last).into_iter().find(is_violation));
                return (false, Some(Violation { what, path }));
            }
            let reached = self.visit(next, at);
            if !M::is_counted(step) && reached != at {
                rests = false;
                self.uncounted.push((at, reached));
            }
        }
        (rests, None)
    }

    fn visit(&mut self, state: M::State, parent: usize) -> usize {
        let (at, is_new) = self.states.insert_full(self.model.canonical(state));
        self.parents.extend(is_new.then_some(parent));
        at
    }

    /// The steps that lead to a state, with names and numbers as at the start.
    fn path(&self, mut at: usize) -> Steps<M> {
        let mut goals = Vec::new();
        while at != 0 {
            goals.push(self.states[at]);
            at = self.parents[at];
        }
        let mut state = self.start;
        let towards = |goal: M::State| {
            let reports = self.model.reports(&state).unwrap_or_default();
            let mut steps = self.model.steps(&state).into_iter().chain(reports);
            let found = steps.find(|(_, next)| self.model.canonical(*next) == goal).unwrap();
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

/// Maps numbers to new ones in the same order, without gaps.
pub(crate) struct Ranks(pub(crate) u64);

impl Ranks {
    pub(crate) fn new(numbers: impl Iterator<Item = u8>) -> Self {
        Self(numbers.fold(0, |all, number| all | 1 << number) & !1)
    }

    pub(crate) fn rank(&self, number: u8) -> u8 {
        let below = self.0 & ((2 << number) - 1);
        u8::try_from(below.count_ones()).unwrap()
    }
}
