//! Two processes that share a ledger, a user who consents, an operator and Weixin under virtual time, with faults that a
//! seed decides. A seed that fails prints the command that plays it again. docs/outbox-model.md says what is played.

#![cfg(test)]

mod outbox_simulation {
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

    pub(crate) use oracle::Account;
    pub(crate) use scenario::play;
    pub(crate) use seeds::{run_seeds, seed_count};
}

use outbox_simulation::{Account, play, run_seeds, seed_count};

/// How many seeds are played without `WXSUB_SEEDS`.
const SEEDS: u64 = 10;

#[test]
fn every_seed_keeps_the_invariants() {
    let played =
        run_seeds("outbox_simulation every_seed", seed_count(SEEDS), play, |account| &account.violations);
    let mut total = Account::default();
    played.iter().for_each(|account| total.add(account));
    eprintln!("{} seeds: {total:?}", played.len());
    if played.len() < 100 {
        return;
    }
    // The faults must be bad enough to show something, and good enough that most messages are sent.
    let Account { messages, sent, maybe_sent, not_sent, refused, .. } = total;
    assert!(
        sent * 2 > messages
            && [maybe_sent, not_sent, refused, total.late_answers].iter().all(|count| *count > 0)
    );
    assert!(
        [total.crashes, total.lost_replies, total.reclaimed, total.sent_again].iter().all(|count| *count > 0)
    );
}

#[test]
fn a_seed_plays_the_same_twice() {
    assert_eq!(play(7, false), play(7, false));
}
