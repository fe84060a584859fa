//! Every way the outbox can go, up to a bound: two workers, the reclaimer, an operator, a second consent, an inbox, Weixin.
//! docs/outbox-model.md says what is modelled and what comes of it.

#![cfg(test)]

mod outbox_model {
    #[path = "../breadth_first.rs"]
    pub(crate) mod breadth_first;
    mod changes;
    pub(crate) mod conformance;
    pub(crate) mod inbox;
    pub(crate) mod properties;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod state;
    pub(crate) mod step;
}

use outbox_model::breadth_first::is_documented;
use outbox_model::conformance::compare;
use outbox_model::properties::{search, trace};
use outbox_model::rules::{Rule, Rules};
use outbox_model::scenario::Scenario;

const DOCUMENT: &str = include_str!("../docs/outbox-model.md");

fn scenarios() -> [Scenario; 9] {
    [
        Scenario::processes(2),
        Scenario::lost_replies(2),
        Scenario::consents(3, 1),
        Scenario::decisions(2, 2),
        Scenario::key(2),
        Scenario::batch(3, 1),
        Scenario::inbox(3, 2),
        Scenario::restore(2, 2),
        Scenario::late_restore(),
    ]
}

/// Whatever happens within the bound, nothing goes wrong.
#[test]
fn all_rules_together_hold() {
    for scenario in scenarios() {
        let found = search(&scenario, &Rules::ALL);
        if let Some(violation) = &found.violation {
            panic!("{}: {}", scenario.name, trace(violation));
        }
        eprintln!("{}", found.summary(scenario.name));
        is_documented(DOCUMENT, &format!("| {} |", scenario.name), &format!("| {} |", found.states));
    }
}

/// Drops one rule after the other, and shows what goes wrong.
#[test]
fn each_rule_is_needed() {
    for (rule, scenario, dropped) in [
        ("durable before the POST", Scenario::processes(0), Rule::DurableBeforePost),
        ("a settlement names its claim", Scenario::lost_replies(3), Rule::Fence),
        ("unknown is final", Scenario::processes(2), Rule::UnknownIsFinal),
        ("reclaimed is unknown", Scenario::processes(2), Rule::ReclaimIsUnknown),
        ("mark, then reclaim", Scenario::processes(2), Rule::TwoTransactions),
        ("a gone worker claims nothing", Scenario::processes(2), Rule::GoneClaimsNothing),
        ("no late POST", Scenario::decisions(2, 2), Rule::PostWindow),
        ("no early decision", Scenario::decisions(2, 2), Rule::DecisionDelay),
        ("decided is final", Scenario::decisions(2, 2), Rule::DecidedIsFinal),
        ("decided once", Scenario::decisions(2, 2), Rule::DecidedOnce),
        ("only queued messages are cancelled", Scenario::consents(2, 1), Rule::CancelQueuedOnly),
        ("lost claims wait", Scenario::lost_replies(2), Rule::LostClaimsWait),
        ("the key with its message", Scenario::key(2), Rule::KeyWithMessage),
        ("a changed line replaces what is unsent", Scenario::batch(3, 1), Rule::ChangedReplacesUnsent),
        ("a rejected line is final", Scenario::batch(3, 1), Rule::RejectedIsFinal),
        ("the keys of a batch stay", Scenario::batch(3, 1), Rule::BatchKeysStay),
        ("the newest grant decides", Scenario::consents(3, 1), Rule::NewestGrantDecides),
        ("an unused grant absorbs", Scenario::consents(3, 1), Rule::UnusedAbsorbs),
        ("void beside a newer grant", Scenario::consents(3, 1), Rule::VoidBesideNewer),
        ("again with the newer grant", Scenario::sent_again(), Rule::AgainTakesNewer),
        ("a restore ends messages", Scenario::restore(3, 2), Rule::RestoreEndsMessages),
        ("a restore doubts grants", Scenario::restore(3, 2), Rule::RestoreDoubtsGrants),
        ("a restore forgets owners", Scenario::late_restore(), Rule::RestoreForgetsOwners),
        ("record, then delete", Scenario::inbox(2, 1), Rule::RecordedBeforeDeleted),
        ("ids of rows are known", Scenario::inbox(2, 1), Rule::RowIdsAreKnown),
        ("ids of rows stay known", Scenario::inbox(3, 1), Rule::RowIdsStayKnown),
        ("another content stays", Scenario::inbox(2, 1), Rule::OtherContentStays),
        ("no position in the table", Scenario::inbox(2, 1), Rule::NoPosition),
        ("rows are locked", Scenario::inbox(2, 1), Rule::RowsAreLocked),
        ("only committed rows", Scenario::inbox(2, 1), Rule::OnlyCommittedRows),
    ] {
        let found = search(&scenario, &Rules::without(dropped));
        let Some(violation) = &found.violation else {
            panic!("without \"{rule}\", nothing goes wrong in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{rule}\" ({}): {}", scenario.name, trace(violation));
        let cells = format!("| {} | {} |", violation.what, violation.path.len());
        is_documented(DOCUMENT, &format!("| {rule} |"), &cells);
    }
}

/// The ledger in memory makes of every step what the model makes of it.
#[test]
fn the_model_is_like_the_ledger() {
    for scenario in scenarios() {
        let steps = compare(&scenario, 200);
        eprintln!("{}: the same after {steps} steps", scenario.name);
        assert!(steps > 200, "{}", scenario.name);
    }
}
