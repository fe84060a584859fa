//! A model of the protocol by which three servers share a token through a store. A search visits all states up to a bound.
//! docs/cluster-model.md describes the model and the results.

#![cfg(test)]

mod model {
    #[path = "../breadth_first.rs"]
    pub(crate) mod breadth_first;
    pub(crate) mod conformance;
    mod fetch;
    pub(crate) mod properties;
    mod refresh;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod state;
    mod step;
    mod symmetry;
}

use model::breadth_first::is_documented;
use model::conformance::compare;
use model::properties::{search, trace};
use model::rules::{Rule, Rules};
use model::scenario::Scenario;

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
        Scenario::NO_FAULT,
        Scenario::COLD_START,
        Scenario::CRASHES,
        Scenario::CRASHES_AT_START,
        Scenario::PAUSES,
        Scenario::OUTAGE,
        Scenario::OUTAGE_WITH_A_WRONG_CLOCK,
        Scenario::LOSS,
        Scenario::UNREADABLE,
        Scenario::ENDLESS_LEASES,
        Scenario::OTHER_UPSTREAMS,
        Scenario::BROKEN_RECORDS,
        Scenario::LOST_GENERATIONS,
        Scenario::ALL_BUT_THE_STORE,
        Scenario::ALL_FAULTS,
        Scenario::MORE_FAULTS,
    ] {
        let found = search(&scenario, &Rules::ALL);
        if let Some(violation) = &found.violation {
            panic!("{}: {}", scenario.name, trace(violation));
        }
        eprintln!("{}", found.summary(scenario.name));
        let Scenario { name, refreshes, faults, .. } = scenario;
        let cells = format!("| {refreshes}, {faults} | {} |", found.states);
        is_documented(DOCUMENT, &format!("| {name} |"), &cells);
    }
}

/// Where no server can know which token is valid, recovery needs a report.
#[test]
fn some_faults_need_a_report() {
    for scenario in [
        Scenario::LATE_CALL,
        Scenario::PAUSE_AND_CRASH,
        Scenario::LOST_GENERATION_AND_CRASH,
        Scenario::LONG_OUTAGE,
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
        ("read before the lease", Scenario::UNREADABLE, Rule::ReadBeforeLease),
        ("a lease without end is free", Scenario::ENDLESS_LEASES, Rule::EndlessLeaseIsFree),
        ("refuse another upstream", Scenario::OTHER_UPSTREAMS, Rule::RefuseOtherUpstream),
        ("the later request wins", Scenario::OUTAGE_WITH_A_WRONG_CLOCK, Rule::LaterRequestWins),
        ("publishing keeps the marker of a peer", Scenario::LOSS, Rule::PublishKeepsMarker),
        ("replace a broken record", Scenario::BROKEN_RECORDS, Rule::ReplaceBroken),
        ("one fetch at a time", Scenario::NO_FAULT, Rule::Lease),
        ("announce each change", Scenario::NO_FAULT, Rule::Announce),
        ("look at each record after a loss", Scenario::LOSS, Rule::LookAfterLoss),
        ("look after each attempt", Scenario::LOSS, Rule::LookAfterAttempt),
        ("load before calling", Scenario::NO_FAULT, Rule::LoadFirst),
        ("a stored token clears the marker", Scenario::NO_FAULT, Rule::StoreClearsMarker),
        ("a marker before each call", Scenario::CRASHES, Rule::Marker),
        ("a lost response keeps the marker", Scenario::CRASHES, Rule::LostResponseKeepsMarker),
        ("a server clears only its own marker", Scenario::CRASHES, Rule::OwnMarkerOnly),
        ("compare before writing", Scenario::ONE_PAUSE, Rule::CompareBeforeWriting),
        ("compare generations, not leases", Scenario::ONE_PAUSE, Rule::CompareGenerations),
        ("replace only what was loaded", Scenario::ONE_PAUSE, Rule::ReplaceOnlyLoaded),
        ("fetch again after a lost race", Scenario::ONE_PAUSE, Rule::SecondFetch),
        ("remember unconfirmed calls", Scenario::ONE_PAUSE, Rule::RememberUnconfirmedCalls),
        ("publish to a store that is behind", Scenario::OUTAGE, Rule::Publish),
        ("fetch again after a fetch without lease", Scenario::OUTAGE, Rule::RefetchAfterUnleased),
        ("an unstored token counts as fetched without lease", Scenario::OUTAGE, Rule::UnstoredIsUnleased),
        ("compare with the start of the fetch", Scenario::OUTAGE, Rule::CompareWithStart),
        ("generations are times", Scenario::LOSS, Rule::GenerationsAreTimes),
    ] {
        let found = search(&scenario, &Rules::without(dropped));
        let Some(violation) = &found.violation else {
            panic!("without \"{rule}\", no violation in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{rule}\" ({}): {}", scenario.name, trace(violation));
        let cells = format!("| {} | {} |", violation.what, violation.path.len());
        is_documented(DOCUMENT, &format!("| {rule} |"), &cells);
    }
}

/// The search does not need two rules: one saves a call, the other is for `stable_token`, which is not modelled.
#[test]
fn two_rules_make_no_difference_here() {
    for (scenario, rule) in [
        (Scenario::ONE_PAUSE, Rule::CheckLeaseBeforeCall),
        (Scenario::CRASHES, Rule::CheckLeaseBeforeCall),
        (Scenario::OUTAGE, Rule::SkipRejected),
    ] {
        let found = search(&scenario, &Rules::without(rule));
        assert!(found.violation.is_none(), "{}: {rule:?}", scenario.name);
    }
}
