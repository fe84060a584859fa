//! Processes that share a ledger and an inbox, users who consent, an operator and Weixin under virtual time, with faults
//! that a seed decides. A seed that fails prints the command that runs it again. docs/outbox-model.md describes faults and invariants.

#![cfg(test)]

mod outbox_simulation {
    #[path = "../simulation/fault_window.rs"]
    mod fault_window;
    mod inbox;
    mod invariants;
    mod ledger_link;
    #[path = "../simulation/node_clock.rs"]
    mod node_clock;
    mod operator;
    mod oracle;
    mod plan;
    mod process;
    mod scenario;
    #[path = "../simulation/seeds.rs"]
    mod seeds;
    mod weixin;

    pub(crate) use oracle::Summary;
    pub(crate) use plan::{Defect, Setup};
    pub(crate) use scenario::run_seed;
    pub(crate) use seeds::{run_seeds, seed_count};
}

use wxsub_outbox::state::MessageState;

use outbox_simulation::{Defect, Setup, Summary, run_seed, run_seeds, seed_count};

const TWO: Setup = Setup { processes: 2, calm: false, defect: None };

const TWENTY: Setup = Setup { processes: 20, ..TWO };

/// How many seeds run without `WXSUB_SEEDS`.
const SEEDS: u64 = 10;

/// In as many seeds a defect must show.
const SEEDS_FOR_A_DEFECT: u64 = 20;

fn total(test: &str, count: u64, setup: Setup) -> (usize, Summary) {
    let run = |seed, trace| run_seed(setup, seed, trace);
    let summaries =
        run_seeds(&format!("outbox_simulation {test}"), count, run, |summary| &summary.violations);
    let mut total = Summary::default();
    summaries.iter().for_each(|summary| total.add(summary));
    eprintln!("{} seeds: {total:?}", summaries.len());
    (summaries.len(), total)
}

/// The faults must be bad enough to show something, and good enough that most messages are sent.
fn check_faults((seeds, total): (usize, Summary)) {
    if seeds < 100 {
        return eprintln!("not checked with fewer than 100 seeds: how often each fault has an effect");
    }
    let count = |state| total.states.get(&state).copied().unwrap_or_default();
    assert!(count(MessageState::Sent) * 2 > total.states.values().sum());
    let unsent = [MessageState::MaybeSent, MessageState::NotSent, MessageState::Refused];
    assert!(unsent.into_iter().all(|state| count(state) > 0) && total.late_responses > 0);
    assert!(
        [total.crashes, total.lost_replies, total.reclaimed, total.sent_again].iter().all(|count| *count > 0)
    );
    assert!([total.copied, total.cut_off].iter().all(|count| *count > seeds));
}

#[test]
fn every_seed_keeps_the_invariants() {
    check_faults(total("every_seed_keeps", seed_count(SEEDS), TWO));
}

#[test]
fn every_seed_of_twenty_processes_keeps_the_invariants() {
    check_faults(total("every_seed_of_twenty", seed_count(SEEDS / 3), TWENTY));
}

/// The clock of the ledger decides.
#[test]
fn clocks_of_machines_ten_minutes_apart_change_nothing() {
    let (_, total) = total("clocks_of_machines", SEEDS / 3, Setup { calm: true, ..TWENTY });
    assert_eq!((total.reclaimed, total.lost_replies), (0, 0), "{total:?}");
    assert!(!total.states.contains_key(&MessageState::MaybeSent), "{total:?}");
}

#[test]
fn same_seed_gives_the_same_result() {
    for setup in [TWO, TWENTY] {
        assert_eq!(run_seed(setup, 7, false), run_seed(setup, 7, false));
    }
}

fn found(defect: Defect, calm: bool, shows: impl Fn(&Summary) -> bool) {
    let setup = Setup { calm, defect: Some(defect), ..TWO };
    let found = (0..SEEDS_FOR_A_DEFECT).find(|seed| shows(&run_seed(setup, *seed, false)));
    eprintln!("{defect:?}: seed {found:?}");
    assert!(found.is_some(), "{defect:?} was not found");
}

#[test]
fn repeating_what_is_unknown_is_found() {
    found(Defect::RepeatsWhatIsUnknown, false, |summary| {
        summary.violations.iter().any(|text| text.contains("more than one POST may have been accepted"))
    });
}

#[test]
fn deleting_rows_before_they_are_recorded_is_found() {
    found(Defect::DeletesBeforeItRecords, false, |summary| {
        summary.violations.iter().any(|text| text.contains("was acknowledged, and is lost"))
    });
}

#[test]
fn believing_the_clocks_of_machines_is_found() {
    let setup = Setup { processes: 8, calm: true, defect: Some(Defect::BelievesMachines) };
    assert!((0..SEEDS_FOR_A_DEFECT).any(|seed| run_seed(setup, seed, false).reclaimed > 0));
}
