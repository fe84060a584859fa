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
    pub(crate) mod conformance;
    mod lifecycle;
    mod properties;
    mod round;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod state;
    mod step;
    mod symmetry;
    pub(crate) mod trace_format;
}

use model::conformance::compare;
use model::rules::{Generations, Put, Rules};
use model::scenario::Scenario;
use model::search::search;
use model::state::State;
use model::trace_format::{account, story};

const DOCUMENT: &str = include_str!("../docs/cluster-model.md");

/// The model's server makes of everything what the lifecycle makes of it.
#[test]
fn the_model_is_like_the_lifecycle() {
    let runs = compare(&Rules::ALL);
    eprintln!("the same after each of {runs} runs");
    assert!(DOCUMENT.contains(&format!(" {runs} ")), "docs/cluster-model.md does not say {runs}");
}

/// Whatever goes wrong within the bound, they come to rest, and then hold one token, and it works.
#[test]
fn all_ends_well() {
    for scenario in [
        Scenario::calm(),
        Scenario::calm_start(),
        Scenario::crashes(),
        Scenario::crashes_at_start(),
        Scenario::pauses(),
        Scenario::outage(),
        Scenario::loss(),
        Scenario::anything_but_the_store(),
        Scenario::anything(),
    ] {
        let found = search(&scenario, &Rules::ALL);
        if let Some(wrong) = &found.wrong {
            panic!("{}: {}", scenario.name, story(&scenario.start, wrong));
        }
        eprintln!("{}", account(scenario.name, &found));
        let (State { wishes, mishaps, .. }, states) = (scenario.start, found.states);
        is_documented(&format!("| {} |", scenario.name), &format!("| {wishes}, {mishaps} | {states} |"));
    }
}

/// Where nobody who knows is left, they come to rest without the token that works, and a report is needed.
#[test]
fn some_things_only_a_report_tells() {
    let mut scenarios = vec![Scenario::late_call(), Scenario::pause_and_crash()];
    if !cfg!(debug_assertions) {
        // Half a million states, too many for an ordinary debug build.
        scenarios.push(Scenario::long_outage());
    }
    for scenario in scenarios {
        let alone = search(&scenario, &Rules::ALL);
        let wrong = alone.wrong.unwrap();
        eprintln!("without a report ({}): {}", scenario.name, story(&scenario.start, &wrong));
        is_documented(&format!("| {} |", scenario.name), &format!("| {} |", wrong.path.len()));
        let told = search(&Scenario { reports: true, ..scenario }, &Rules::ALL);
        eprintln!("{}", account(scenario.name, &told));
        assert!(told.wrong.is_none() && told.reported > 0, "{}", scenario.name);
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
        [(Scenario::one_pause(), trusting), (Scenario::crashes(), trusting), (Scenario::outage(), forgetful)]
    {
        let found = search(&scenario, &rules);
        assert!(found.wrong.is_none(), "{}: {rules:?}", scenario.name);
    }
}
