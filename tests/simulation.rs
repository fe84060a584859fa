//! A hundred token caches, their stores and a sandbox in virtual time, with faults drawn from a seed. A failing seed prints
//! the command that runs it again with a full trace.

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
    #[allow(dead_code, reason = "only the servers of the cluster simulation are suspended")]
    mod node_clock;
    mod oracle;
    mod scenario;
    mod schedule;
    mod seeds;

    pub(crate) use oracle::Summary;
    pub(crate) use scenario::run;
    pub(crate) use seeds::{SeedResult, run_seeds, seed_count};
}

use simulation::{SeedResult, Summary, run, run_seeds, seed_count};

/// How many seeds run without `WXSUB_SEEDS`: few in a debug build, which is slow.
const SEEDS: u64 = if cfg!(debug_assertions) { 2 } else { 200 };

impl SeedResult for Summary {
    fn violations(&self) -> &[String] {
        &self.violations
    }
}

#[test]
fn every_seed_keeps_the_invariants() {
    let results = run_seeds("simulation every_seed", seed_count(SEEDS), run);
    let mut totals = Totals::default();
    results.iter().for_each(|summary| totals.add(summary));
    eprintln!("{} seeds: {totals:?}", results.len());
}

#[test]
fn same_seed_gives_the_same_result() {
    let (first, second) = (run(7, false), run(7, false));
    assert_eq!(first, second);
}

/// Totals over all seeds. They show that faults are frequent enough to matter, and that most sends succeed.
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
    fn add(&mut self, summary: &Summary) {
        self.sent += summary.sent;
        self.not_sent += summary.not_sent;
        self.maybe_sent += summary.maybe_sent;
        self.refused += summary.refused;
        self.token_requests += summary.token_requests;
        self.crashes += summary.crashes;
    }
}
