//! A hundred token caches and the sandbox in virtual time, with faults drawn from a seed: small clusters of the cluster simulation,
//! and caches without a store. A failing seed prints the command that runs it again with a full trace.

#![cfg(test)]

#[allow(dead_code, reason = "some parts are only for the cluster simulation")]
mod simulation {
    mod apps;
    #[path = "../cluster_simulation/cluster.rs"]
    mod cluster;
    #[path = "../cluster_simulation/fault_plan.rs"]
    mod fault_plan;
    mod faults;
    #[path = "../cluster_simulation/invariants.rs"]
    mod invariants;
    mod network;
    mod node_clock;
    #[path = "../cluster_simulation/node_faults.rs"]
    mod node_faults;
    mod oracle;
    #[path = "../cluster_simulation/other_upstream.rs"]
    mod other_upstream;
    #[path = "../cluster_simulation/redis.rs"]
    mod redis;
    mod seeds;
    #[path = "../cluster_simulation/server.rs"]
    mod server;
    #[path = "../cluster_simulation/store_faults.rs"]
    mod store_faults;
    #[path = "../cluster_simulation/store_link.rs"]
    mod store_link;

    pub(crate) use apps::run;
    pub(crate) use oracle::Summary;
    pub(crate) use seeds::{run_seeds, seed_count};
}

use simulation::{Summary, run, run_seeds, seed_count};

/// How many seeds run without `WXSUB_SEEDS`.
const SEEDS: u64 = 2;

#[test]
fn every_seed_keeps_the_invariants() {
    let results = run_seeds("simulation every_seed", seed_count(SEEDS), run, |summary| &summary.violations);
    let mut totals = Summary::default();
    let seeds = results.len();
    results.into_iter().for_each(|summary| totals.add(summary));
    eprintln!("{seeds} seeds: {}", totals.line());
}

#[test]
fn same_seed_gives_the_same_result() {
    let (first, second) = (run(7, false), run(7, false));
    assert_eq!(first, second);
}
