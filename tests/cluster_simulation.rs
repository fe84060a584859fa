//! Fifty control servers in virtual time that share one token through one Redis, with faults drawn from a seed. A failing seed
//! prints the command that runs it again with a full trace. docs/cluster-simulation.md describes faults and invariants.

#![cfg(test)]

mod cluster_simulation {
    mod cluster;
    mod fault_plan;
    #[path = "../simulation/faults.rs"]
    mod faults;
    mod invariants;
    #[path = "../simulation/network.rs"]
    mod network;
    #[path = "../simulation/node_clock.rs"]
    mod node_clock;
    mod node_faults;
    #[path = "../simulation/oracle.rs"]
    mod oracle;
    mod other_upstream;
    mod redis;
    mod request_bound;
    mod seed;
    #[path = "../simulation/seeds.rs"]
    mod seeds;
    mod server;
    mod store_faults;
    mod store_link;
    mod takeover;

    pub(crate) use cluster::Outcome;
    pub(crate) use oracle::Summary;
    pub(crate) use seed::run;
    pub(crate) use seeds::{run_seeds, seed_count};
    pub(crate) use takeover::{FetchPhase, run_calm, takeover};
}

use std::time::Duration;

use cluster_simulation::{FetchPhase, Outcome, Summary, run, run_calm, run_seeds, seed_count, takeover};

/// How many seeds run without `WXSUB_SEEDS`.
const SEEDS: u64 = 3;

/// The number of runs of each kind of takeover, without `WXSUB_SEEDS`.
const TAKEOVER_RUNS: u64 = 10;

/// The longest takeover: a lease of 6 s, and a check by a peer every 1.5 s.
const MAX_TAKEOVER: Duration = Duration::from_secs(10);

/// The longest time until all servers hold a new token, if notifications arrive.
const MAX_SPREAD: Duration = Duration::from_millis(50);

#[test]
fn every_seed_keeps_the_invariants() {
    let results = run_seeds("cluster_simulation every_seed", seed_count(SEEDS), run, Outcome::violations);
    let mut totals = Summary::default();
    results.iter().for_each(|outcome| totals.add(outcome.summary.clone()));
    eprintln!(
        "{} seeds: {}; {} store operations; settled after {:?}",
        results.len(),
        totals.line(),
        results.iter().map(|outcome| outcome.operations).sum::<u64>(),
        percentiles(results.iter().map(|outcome| outcome.unsettled).collect()),
    );
}

#[test]
fn same_seed_gives_the_same_result() {
    assert_eq!(run(7, false), run(7, false));
}

#[test]
fn killed_or_suspended_refresher_is_replaced_within_10_seconds() {
    let mut all = Vec::new();
    for servers in [3, 50] {
        for at in [FetchPhase::Start, FetchPhase::Refresh, FetchPhase::Rejection] {
            let results = run_seeds(
                "cluster_simulation killed_or_suspended_refresher",
                seed_count(TAKEOVER_RUNS),
                |seed, verbose| takeover(seed, servers, at, verbose),
                |(outcome, _)| outcome.violations(),
            );
            let took: Vec<_> = results.iter().filter_map(|(_, took)| *took).collect();
            assert!(3 * took.len() > results.len(), "of {servers}, {at:?}: only {} were hit", took.len());
            eprintln!("{servers} servers, {at:?}, {} runs: {:?}", took.len(), percentiles(took.clone()));
            all.extend(took);
        }
    }
    let Percentiles { max, .. } = percentiles(all.clone());
    eprintln!("all {} runs: {:?}", all.len(), percentiles(all));
    assert!(max <= MAX_TAKEOVER, "{max:?}");
}

#[test]
fn new_token_reaches_all_servers_at_once() {
    let run = |seed, _| run_calm(seed, 50);
    let results = run_seeds(
        "cluster_simulation new_token",
        seed_count(TAKEOVER_RUNS).div_ceil(10),
        run,
        Outcome::violations,
    );
    let spreads: Vec<_> = results.iter().flat_map(|outcome| outcome.spreads.clone()).collect();
    let Percentiles { max, .. } = percentiles(spreads.clone());
    eprintln!("{} refreshes: {:?}", spreads.len(), percentiles(spreads));
    assert!(max <= MAX_SPREAD, "{max:?}");
}

/// Percentiles of durations.
#[derive(Debug)]
#[expect(dead_code, reason = "printed with Debug")]
struct Percentiles {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

fn percentiles(mut durations: Vec<Duration>) -> Percentiles {
    durations.sort();
    let at = |percent: usize| durations[(durations.len() - 1) * percent / 100];
    Percentiles { p50: at(50), p99: at(99), max: at(100) }
}
