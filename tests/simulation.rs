//! A hundred token caches, their stores and a sandbox in virtual time, with faults drawn from a seed. A failing seed prints
//! the command that runs it again with a full trace.

#![cfg(test)]

mod simulation {
    mod faults;
    mod network;
    mod node;
    #[allow(dead_code, reason = "only the servers of the cluster simulation are suspended")]
    mod node_clock;
    mod oracle;
    #[allow(dead_code, reason = "only the cluster simulation restores and breaks records")]
    #[path = "../cluster_simulation/redis.rs"]
    mod redis;
    mod scenario;
    mod schedule;
    mod seeds;
    #[allow(dead_code, reason = "only the cluster simulation draws faults of Redis")]
    #[path = "../cluster_simulation/store_faults.rs"]
    mod store_faults;
    #[allow(dead_code, reason = "only servers of the cluster simulation get notifications")]
    #[path = "../cluster_simulation/store_link.rs"]
    mod store_link;

    pub(crate) use oracle::Summary;
    pub(crate) use scenario::run;
    pub(crate) use seeds::{run_seeds, seed_count};
}

use simulation::{Summary, run, run_seeds, seed_count};

/// How many seeds run without `WXSUB_SEEDS`.
const SEEDS: u64 = 2;

#[test]
fn every_seed_keeps_the_invariants() {
    let results = run_seeds("simulation every_seed", seed_count(SEEDS), run, |summary| &summary.violations);
    eprintln!("{} seeds: {}", results.len(), Summary::totals(&results.iter().collect::<Vec<_>>()));
}

#[test]
fn same_seed_gives_the_same_result() {
    let (first, second) = (run(7, false), run(7, false));
    assert_eq!(first, second);
}
