//! A model of the protocol by which three servers share a token through a store. A search visits all states up to a bound.
//! docs/cluster-model.md describes the model and the results.

#![cfg(test)]

mod model {
    #[path = "../breadth_first.rs"]
    pub(crate) mod breadth_first;
    pub(crate) mod conformance;
    mod fetch;
    mod properties;
    mod refresh;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod state;
    mod step;
    mod symmetry;
    pub(crate) mod trace_format;
}

use model::breadth_first::is_documented;
use model::conformance::compare;
use model::rules::{Generations, Put, Rules};
use model::scenario::Scenario;
use model::search::search;
use model::state::State;
use model::trace_format::trace;

const DOCUMENT: &str = include_str!("../docs/cluster-model.md");

/// The server of the model and the refresh state of wxsub-core react in the same way.
#[test]
fn model_conforms_to_wxsub_core() {
    let runs = compare(&Rules::ALL);
    eprintln!("no difference in {runs} runs");
    assert!(DOCUMENT.contains(&format!(" {runs} ")), "docs/cluster-model.md does not say {runs}");
}

/// With all faults within the bound, the servers come to rest and hold one valid token.
#[test]
fn servers_recover_from_faults() {
    for scenario in [
        Scenario::no_fault(),
        Scenario::cold_start(),
        Scenario::crashes(),
        Scenario::crashes_at_start(),
        Scenario::pauses(),
        Scenario::outage(),
        Scenario::outage_with_a_wrong_clock(),
        Scenario::loss(),
        Scenario::unreadable(),
        Scenario::endless_leases(),
        Scenario::other_upstreams(),
        Scenario::broken_records(),
        Scenario::lost_generations(),
        Scenario::all_but_the_store(),
        Scenario::all_faults(2, 1),
        Scenario::all_faults(1, 2),
    ] {
        let found = search(&scenario, &Rules::ALL);
        if let Some(violation) = &found.violation {
            panic!("{}: {}", scenario.name, trace(&scenario.start, violation));
        }
        eprintln!("{}", found.summary(scenario.name));
        let (State { refreshes_left, faults_left, .. }, states) = (scenario.start, found.states);
        is_documented(
            DOCUMENT,
            &format!("| {} |", scenario.name),
            &format!("| {refreshes_left}, {faults_left} | {states} |"),
        );
    }
}

/// Where no server can know which token is valid, recovery needs a report.
#[test]
fn some_faults_need_a_report() {
    for scenario in [
        Scenario::late_call(),
        Scenario::pause_and_crash(),
        Scenario::lost_generation_and_crash(),
        Scenario::long_outage(),
    ] {
        let unreported = search(&scenario, &Rules::ALL);
        let violation = unreported.violation.unwrap();
        eprintln!("without a report ({}): {}", scenario.name, trace(&scenario.start, &violation));
        is_documented(DOCUMENT, &format!("| {} |", scenario.name), &format!("| {} |", violation.path.len()));
        let reported = search(&Scenario { reports: true, ..scenario }, &Rules::ALL);
        eprintln!("{}", reported.summary(scenario.name));
        assert!(reported.violation.is_none() && reported.reported > 0, "{}", scenario.name);
    }
}

/// The rules about leases, wrong clocks, and records that a server cannot use, each dropped in turn.
fn rules_of_the_store() -> [(&'static str, Scenario, Rules); 6] {
    let all = Rules::ALL;
    [
        ("read before the lease", Scenario::unreadable(), Rules { read_before_lease: false, ..all }),
        (
            "a lease without end is free",
            Scenario::endless_leases(),
            Rules { endless_lease_is_free: false, ..all },
        ),
        (
            "refuse another upstream",
            Scenario::other_upstreams(),
            Rules { refuse_other_upstream: false, ..all },
        ),
        (
            "the later request wins",
            Scenario::outage_with_a_wrong_clock(),
            Rules { later_request_wins: false, ..all },
        ),
        (
            "publishing keeps the marker of a peer",
            Scenario::loss(),
            Rules { publish_keeps_marker: false, ..all },
        ),
        ("replace a broken record", Scenario::broken_records(), Rules { replace_broken: false, ..all }),
    ]
}

/// Each rule is dropped in turn, and the search must find a violation.
#[test]
fn each_rule_is_needed() {
    let all = Rules::ALL;
    let rules_of_the_protocol = [
        ("one fetch at a time", Scenario::no_fault(), Rules { lease: false, ..all }),
        ("announce each change", Scenario::no_fault(), Rules { announce: false, ..all }),
        ("look at each record after a loss", Scenario::loss(), Rules { look_after_loss: false, ..all }),
        ("look after each attempt", Scenario::loss(), Rules { look_after_attempt: false, ..all }),
        ("load before calling", Scenario::no_fault(), Rules { load_first: false, ..all }),
        (
            "a stored token clears the marker",
            Scenario::no_fault(),
            Rules { store_clears_marker: false, ..all },
        ),
        ("a marker before each call", Scenario::crashes(), Rules { marker: false, ..all }),
        (
            "a lost response keeps the marker",
            Scenario::crashes(),
            Rules { lost_response_keeps_marker: false, ..all },
        ),
        ("a server clears only its own marker", Scenario::crashes(), Rules { own_marker_only: false, ..all }),
        ("compare before writing", Scenario::one_pause(), Rules { put: Put::Blind, ..all }),
        ("compare generations, not leases", Scenario::one_pause(), Rules { put: Put::Fence, ..all }),
        ("replace only what was loaded", Scenario::one_pause(), Rules { put: Put::IfNewer, ..all }),
        ("fetch again after a lost race", Scenario::one_pause(), Rules { second_fetch: false, ..all }),
        (
            "remember unconfirmed calls",
            Scenario::one_pause(),
            Rules { remember_unconfirmed_calls: false, ..all },
        ),
        ("publish to a store that is behind", Scenario::outage(), Rules { publish: false, ..all }),
        (
            "fetch again after a fetch without lease",
            Scenario::outage(),
            Rules { refetch_after_unleased: false, ..all },
        ),
        (
            "an unstored token counts as fetched without lease",
            Scenario::outage(),
            Rules { unstored_is_unleased: false, ..all },
        ),
        (
            "compare with the start of the fetch",
            Scenario::outage(),
            Rules { compare_with_start: false, ..all },
        ),
        ("generations are times", Scenario::loss(), Rules { generations: Generations::Counted, ..all }),
    ];
    for (rule, scenario, rules) in rules_of_the_store().into_iter().chain(rules_of_the_protocol) {
        let found = search(&scenario, &rules);
        let Some(violation) = &found.violation else {
            panic!("without \"{rule}\", no violation in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{rule}\" ({}): {}", scenario.name, trace(&scenario.start, violation));
        is_documented(
            DOCUMENT,
            &format!("| {rule} |"),
            &format!("| {} | {} |", violation.what, violation.path.len()),
        );
    }
}

/// The search does not need two rules: one saves a call, the other is for `stable_token`, which is not modelled.
#[test]
fn two_rules_make_no_difference_here() {
    let (no_lease_check, adopts_rejected) = (
        Rules { check_lease_before_call: false, ..Rules::ALL },
        Rules { skip_rejected: false, ..Rules::ALL },
    );
    for (scenario, rules) in [
        (Scenario::one_pause(), no_lease_check),
        (Scenario::crashes(), no_lease_check),
        (Scenario::outage(), adopts_rejected),
    ] {
        let found = search(&scenario, &rules);
        assert!(found.violation.is_none(), "{}: {rules:?}", scenario.name);
    }
}
