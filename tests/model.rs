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
    mod properties;
    mod round;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    mod state;
    mod step;
    pub(crate) mod telling;
}

use model::rules::{Generations, Put, Rules};
use model::scenario::Scenario;
use model::search::search;
use model::telling::{account, story};

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
        (Scenario::anything_twice(), as_built),
        (Scenario::pauses(), all),
        (Scenario::outage(), all),
        (Scenario::loss(), all),
    ] {
        let found = search(&scenario, &rules);
        if let Some(wrong) = &found.wrong {
            panic!("{} ({name}): {}", scenario.name, story(&scenario.start, wrong));
        }
        eprintln!("{}", account(scenario.name, name, &found));
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
        ("compare before writing", Scenario::pauses(), Rules { put: Put::Blind, ..all }),
        ("compare generations, not leases", Scenario::pauses(), Rules { put: Put::Fence, ..all }),
        ("replace only what was loaded", Scenario::pauses(), Rules { put: Put::IfNewer, ..all }),
        ("fetch again after a lost race", Scenario::pauses(), Rules { second_fetch: false, ..all }),
        ("remember a call that came to nothing", Scenario::pauses(), Rules { remember_calls: false, ..all }),
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
    }
}

/// Two rules do not show here: they save calls, or are for what is not modelled.
#[test]
fn two_rules_are_not_needed_here() {
    let all = Rules::ALL;
    for rules in [Rules { distrust: false, ..all }, Rules { shun_rejected: false, ..all }] {
        for scenario in
            [Scenario::calm(), Scenario::crashes(), Scenario::pauses(), Scenario::outage(), Scenario::loss()]
        {
            assert!(search(&scenario, &rules).wrong.is_none(), "{}: {rules:?}", scenario.name);
        }
    }
}
