//! Many keepers, their stores and a sandbox under virtual time, in weather that a seed decides. A seed that goes wrong
//! prints the command that plays it again, with everything that happened.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may panic, and say why"
)]

mod simulation {
    mod faults;
    mod flaky_store;
    mod network;
    mod node;
    #[allow(dead_code, reason = "only the servers of a cluster stand still")]
    mod node_clock;
    mod oracle;
    mod scenario;
    mod schedule;
    mod seeds;

    pub(crate) use oracle::Account;
    pub(crate) use scenario::play;
    pub(crate) use seeds::{Played, play_all};
}

use simulation::{Account, Played, play, play_all};

/// An ordinary debug build is slow, and plays a few only; `scripts/test` builds this file so that it can play them all.
const SEEDS: u64 = if cfg!(debug_assertions) { 10 } else { 1_000 };

impl Played for Account {
    fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

#[test]
fn a_thousand_seeds() {
    let played = play_all("simulation a_thousand_seeds", SEEDS, play);
    let mut totals = Totals::default();
    played.iter().for_each(|account| totals.add(account));
    eprintln!("{} seeds: {totals:?}", played.len());
}

#[test]
fn a_seed_plays_the_same_twice() {
    let (first, second) = (play(7, false), play(7, false));
    assert_eq!(first, second);
}

/// The weather must be bad enough to say something, and good enough that most goes well.
#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    not_sent: u64,
    maybe_sent: u64,
    refused: u64,
    token_requests: u64,
    crashes: u64,
}

impl Totals {
    fn add(&mut self, account: &Account) {
        self.sent += account.sent;
        self.not_sent += account.not_sent;
        self.maybe_sent += account.maybe_sent;
        self.refused += account.refused;
        self.token_requests += account.token_requests;
        self.crashes += account.crashes;
    }
}
