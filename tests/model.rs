//! Every way three servers can go that share a token through a store, up to a bound: a model of the protocol, step by step.
//! docs/cluster-model.md says what is modelled and what comes of it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may panic, and say why"
)]

mod model {
    mod canonical;
    mod lifecycle;
    pub(crate) mod likeness;
    mod properties;
    mod round;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod state;
    mod step;
    pub(crate) mod telling;
}

use model::likeness::compare;
use model::rules::{Generations, Put, Rules};
use model::scenario::Scenario;
use model::search::search;
use model::state::State;
use model::telling::{account, story};

const DOCUMENT: &str = include_str!("../docs/cluster-model.md");

/// The model's server makes of everything what the lifecycle makes of it.
#[test]
fn the_model_is_like_the_lifecycle() {
    let runs = compare(&Rules::AS_BUILT);
    eprintln!("the same after each of {runs} runs");
    assert!(DOCUMENT.contains(&format!(" {runs} ")), "docs/cluster-model.md does not say {runs}");
}

/// Whatever goes wrong within the bound, they come to rest, and then hold one token, and it works.
#[test]
fn all_ends_well() {
    let (all, as_built) = (("all rules", Rules::ALL), ("as built", Rules::AS_BUILT));
    for (scenario, (name, rules)) in [
        (Scenario::calm(), as_built),
        (Scenario::calm_start(), as_built),
        (Scenario::crashes(), as_built),
        (Scenario::crashes_at_start(), as_built),
        (Scenario::anything_but_the_store(), as_built),
        (Scenario::anything(), as_built),
        (Scenario::pauses(), all),
        (Scenario::outage(), all),
        (Scenario::loss(), all),
    ] {
        let found = search(&scenario, &rules);
        if let Some(wrong) = &found.wrong {
            panic!("{} ({name}): {}", scenario.name, story(&scenario.start, wrong));
        }
        eprintln!("{}", account(scenario.name, name, &found));
        let (State { wishes, mishaps, .. }, states) = (scenario.start, found.states);
        is_documented(
            &format!("| {} | {name} |", scenario.name),
            &format!("| {wishes}, {mishaps} | {states} |"),
        );
    }
}

/// Drops one rule after the other, and shows what goes wrong.
#[test]
fn each_rule_is_needed() {
    let all = Rules::ALL;
    for (rule, scenario, rules) in [
        ("one fetches at a time", Scenario::calm(), Rules { lease: false, ..all }),
        ("load before calling", Scenario::calm(), Rules { load_first: false, ..all }),
        ("a stored token takes the mark away", Scenario::calm(), Rules { put_clears_mark: false, ..all }),
        ("a mark before each call", Scenario::crashes(), Rules { mark: false, ..all }),
        (
            "a lost answer leaves the mark",
            Scenario::crashes(),
            Rules { lost_answer_leaves_mark: false, ..all },
        ),
        ("nobody takes another's mark away", Scenario::crashes(), Rules { own_mark_only: false, ..all }),
        ("compare before writing", Scenario::one_pause(), Rules { put: Put::Blind, ..all }),
        ("compare generations, not leases", Scenario::one_pause(), Rules { put: Put::Fence, ..all }),
        ("replace only what was loaded", Scenario::one_pause(), Rules { put: Put::IfNewer, ..all }),
        ("fetch again after a lost race", Scenario::one_pause(), Rules { second_fetch: false, ..all }),
        (
            "remember a call that came to nothing",
            Scenario::one_pause(),
            Rules { remember_calls: false, ..all },
        ),
        ("give the store what it lacks", Scenario::outage(), Rules { publish: false, ..all }),
        ("doubt what was fetched alone", Scenario::outage(), Rules { doubt_alone: false, ..all }),
        ("unsaved is alone", Scenario::outage(), Rules { unsaved_is_alone: false, ..all }),
        ("alone from the start", Scenario::outage(), Rules { known_at_start: false, ..all }),
        ("generations are times", Scenario::loss(), Rules { generations: Generations::Counted, ..all }),
    ] {
        let found = search(&scenario, &rules);
        let Some(wrong) = &found.wrong else {
            panic!("without \"{rule}\", nothing goes wrong in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{rule}\" ({}): {}", scenario.name, story(&scenario.start, wrong));
        is_documented(&format!("| {rule} |"), &format!("| {} | {} |", wrong.what, wrong.path.len()));
    }
}

/// Three rules are missing, and it shows; not for long, since one report is enough (above).
#[test]
fn what_is_built_may_need_a_report() {
    for scenario in [Scenario::one_pause(), Scenario::outage(), Scenario::loss()] {
        let found = search(&scenario, &Rules::AS_BUILT);
        let story = story(&scenario.start, &found.wrong.unwrap());
        eprintln!("as built ({}): {story}", scenario.name);
    }
}

/// The document has this row, with these cells.
fn is_documented(row: &str, cells: &str) {
    let found = DOCUMENT.lines().any(|line| line.starts_with(row) && line.contains(cells));
    assert!(found, "docs/cluster-model.md lacks {row} ... {cells}");
}

/// Two rules do not show here: one saves a call, the other is for what is not modelled.
#[test]
fn two_rules_are_not_needed_here() {
    let (trusting, forgetful) =
        (Rules { distrust: false, ..Rules::ALL }, Rules { shun_rejected: false, ..Rules::ALL });
    for (scenario, rules) in
        [(Scenario::pauses(), trusting), (Scenario::outage(), forgetful), (Scenario::anything(), forgetful)]
    {
        let found = search(&scenario, &rules);
        assert!(found.wrong.is_none(), "{}: {rules:?}", scenario.name);
    }
}
