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
}

use model::breadth_first::is_documented;
use model::conformance::compare;
use model::rules::{Rule, Rules};
use model::scenario::Scenario;
use model::search::{search, trace};
use model::state::State;

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
            panic!("{}: {}", scenario.name, trace(violation));
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
        eprintln!("without a report ({}): {}", scenario.name, trace(&violation));
        is_documented(DOCUMENT, &format!("| {} |", scenario.name), &format!("| {} |", violation.path.len()));
        let reported = search(&Scenario { reports: true, ..scenario }, &Rules::ALL);
        eprintln!("{}", reported.summary(scenario.name));
        assert!(reported.violation.is_none() && reported.reported > 0, "{}", scenario.name);
    }
}

/// Each rule is dropped in turn, and the search must find a violation.
#[test]
fn each_rule_is_needed() {
    for (rule, scenario, dropped) in [
        ("read before the lease", Scenario::unreadable(), Rule::ReadBeforeLease),
        ("a lease without end is free", Scenario::endless_leases(), Rule::EndlessLeaseIsFree),
        ("refuse another upstream", Scenario::other_upstreams(), Rule::RefuseOtherUpstream),
        ("the later request wins", Scenario::outage_with_a_wrong_clock(), Rule::LaterRequestWins),
        ("publishing keeps the marker of a peer", Scenario::loss(), Rule::PublishKeepsMarker),
        ("replace a broken record", Scenario::broken_records(), Rule::ReplaceBroken),
        ("one fetch at a time", Scenario::no_fault(), Rule::Lease),
        ("announce each change", Scenario::no_fault(), Rule::Announce),
        ("look at each record after a loss", Scenario::loss(), Rule::LookAfterLoss),
        ("look after each attempt", Scenario::loss(), Rule::LookAfterAttempt),
        ("load before calling", Scenario::no_fault(), Rule::LoadFirst),
        ("a stored token clears the marker", Scenario::no_fault(), Rule::StoreClearsMarker),
        ("a marker before each call", Scenario::crashes(), Rule::Marker),
        ("a lost response keeps the marker", Scenario::crashes(), Rule::LostResponseKeepsMarker),
        ("a server clears only its own marker", Scenario::crashes(), Rule::OwnMarkerOnly),
        ("compare before writing", Scenario::one_pause(), Rule::CompareBeforeWriting),
        ("compare generations, not leases", Scenario::one_pause(), Rule::CompareGenerations),
        ("replace only what was loaded", Scenario::one_pause(), Rule::ReplaceOnlyLoaded),
        ("fetch again after a lost race", Scenario::one_pause(), Rule::SecondFetch),
        ("remember unconfirmed calls", Scenario::one_pause(), Rule::RememberUnconfirmedCalls),
        ("publish to a store that is behind", Scenario::outage(), Rule::Publish),
        ("fetch again after a fetch without lease", Scenario::outage(), Rule::RefetchAfterUnleased),
        ("an unstored token counts as fetched without lease", Scenario::outage(), Rule::UnstoredIsUnleased),
        ("compare with the start of the fetch", Scenario::outage(), Rule::CompareWithStart),
        ("generations are times", Scenario::loss(), Rule::GenerationsAreTimes),
    ] {
        let found = search(&scenario, &Rules::without(dropped));
        let Some(violation) = &found.violation else {
            panic!("without \"{rule}\", no violation in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{rule}\" ({}): {}", scenario.name, trace(violation));
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
    for (scenario, rule) in [
        (Scenario::one_pause(), Rule::CheckLeaseBeforeCall),
        (Scenario::crashes(), Rule::CheckLeaseBeforeCall),
        (Scenario::outage(), Rule::SkipRejected),
    ] {
        let found = search(&scenario, &Rules::without(rule));
        assert!(found.violation.is_none(), "{}: {rule:?}", scenario.name);
    }
}
