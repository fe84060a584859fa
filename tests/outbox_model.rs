//! Every way the outbox can go, up to a bound: two workers, the reclaimer, an operator, a second consent, an inbox, Weixin.
//! docs/outbox-model.md says what is modelled and what comes of it.

#![cfg(test)]

mod outbox_model {
    #[path = "../breadth_first.rs"]
    pub(crate) mod breadth_first;
    mod changes;
    pub(crate) mod conformance;
    pub(crate) mod inbox;
    mod properties;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod state;
    pub(crate) mod step;
    pub(crate) mod trace_format;
}

use outbox_model::breadth_first::is_documented;
use outbox_model::conformance::compare;
use outbox_model::rules::Rules;
use outbox_model::scenario::Scenario;
use outbox_model::search::search;
use outbox_model::trace_format::trace;

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
fn all_guards_together_hold() {
    for scenario in scenarios() {
        let found = search(&scenario, &Rules::ALL);
        if let Some(violation) = &found.violation {
            panic!("{}: {}", scenario.name, trace(&scenario.start, violation));
        }
        eprintln!("{}", found.summary(scenario.name));
        is_documented(DOCUMENT, &format!("| {} |", scenario.name), &format!("| {} |", found.states));
    }
}

/// Takes one guard away after the other, and shows what goes wrong.
#[test]
fn each_guard_is_needed() {
    let all = Rules::ALL;
    for (guard, scenario, rules) in [
        ("durable before the POST", Scenario::processes(0), Rules { durable_before_post: false, ..all }),
        ("a settlement names its claim", Scenario::lost_replies(3), Rules { fence: false, ..all }),
        ("unknown is final", Scenario::processes(2), Rules { unknown_is_final: false, ..all }),
        ("reclaimed is unknown", Scenario::processes(2), Rules { reclaim_is_unknown: false, ..all }),
        ("mark, then reclaim", Scenario::processes(2), Rules { two_transactions: false, ..all }),
        ("a gone worker claims nothing", Scenario::processes(2), Rules { gone_claims_nothing: false, ..all }),
        ("no late POST", Scenario::decisions(2, 2), Rules { post_window: false, ..all }),
        ("no early decision", Scenario::decisions(2, 2), Rules { decision_delay: false, ..all }),
        ("decided is final", Scenario::decisions(2, 2), Rules { decided_is_final: false, ..all }),
        ("decided once", Scenario::decisions(2, 2), Rules { decided_once: false, ..all }),
        (
            "only queued messages are cancelled",
            Scenario::consents(2, 1),
            Rules { cancel_queued_only: false, ..all },
        ),
        ("lost claims wait", Scenario::lost_replies(2), Rules { lost_claims_wait: false, ..all }),
        ("the key with its message", Scenario::key(2), Rules { key_with_message: false, ..all }),
        (
            "a changed line replaces what is unsent",
            Scenario::batch(3, 1),
            Rules { changed_replaces_unsent: false, ..all },
        ),
        ("a rejected line is final", Scenario::batch(3, 1), Rules { rejected_is_final: false, ..all }),
        ("the keys of a batch stay", Scenario::batch(3, 1), Rules { batch_keys_stay: false, ..all }),
        ("the newest grant decides", Scenario::consents(3, 1), Rules { newest_grant_decides: false, ..all }),
        ("an unused grant absorbs", Scenario::consents(3, 1), Rules { unused_absorbs: false, ..all }),
        ("void beside a newer grant", Scenario::consents(3, 1), Rules { void_beside_newer: false, ..all }),
        ("again with the newer grant", Scenario::sent_again(), Rules { again_takes_newer: false, ..all }),
        ("a restore ends messages", Scenario::restore(3, 2), Rules { restore_ends_messages: false, ..all }),
        ("a restore doubts grants", Scenario::restore(3, 2), Rules { restore_doubts_grants: false, ..all }),
        (
            "a restore forgets owners",
            Scenario::late_restore(),
            Rules { restore_forgets_owners: false, ..all },
        ),
        ("record, then delete", Scenario::inbox(2, 1), Rules { recorded_before_deleted: false, ..all }),
        ("ids of rows are known", Scenario::inbox(2, 1), Rules { row_ids_are_known: false, ..all }),
        ("ids of rows stay known", Scenario::inbox(3, 1), Rules { row_ids_stay_known: false, ..all }),
        ("another content stays", Scenario::inbox(2, 1), Rules { other_content_stays: false, ..all }),
        ("no position in the table", Scenario::inbox(2, 1), Rules { no_position: false, ..all }),
        ("rows are locked", Scenario::inbox(2, 1), Rules { rows_are_locked: false, ..all }),
        ("only committed rows", Scenario::inbox(2, 1), Rules { only_committed_rows: false, ..all }),
    ] {
        let found = search(&scenario, &rules);
        let Some(violation) = &found.violation else {
            panic!("without \"{guard}\", nothing goes wrong in {} states: {}", found.states, scenario.name);
        };
        eprintln!("without \"{guard}\" ({}): {}", scenario.name, trace(&scenario.start, violation));
        let cells = format!("| {} | {} |", violation.what, violation.path.len());
        is_documented(DOCUMENT, &format!("| {guard} |"), &cells);
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
