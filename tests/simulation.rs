//! Token caches and the sandbox in virtual time, with faults drawn from a seed: fifty control servers that share one token through one
//! Redis, and a hundred caches in small clusters or without a store. A failing seed prints the command that runs it again with a full
//! trace. docs/cluster-simulation.md describes faults and invariants.

#![cfg(test)]

mod simulation {
    mod apps;
    mod cluster;
    mod fault_plan;
    mod fault_window;
    mod faults;
    mod invariants;
    mod network;
    mod node_clock;
    mod node_faults;
    mod oracle;
    mod other_upstream;
    mod redis;
    mod request_bound;
    mod seed;
    mod seeds;
    mod server;
    mod store_faults;
    mod store_link;
    mod takeover;

    pub(crate) use apps::run_apps;
    pub(crate) use cluster::Outcome;
    pub(crate) use oracle::Summary;
    pub(crate) use seed::run_cluster;
    pub(crate) use seeds::{run_seeds, seed_count};
    pub(crate) use takeover::{FetchPhase, run_calm, takeover};
}

use std::time::Duration;

use simulation::{
    FetchPhase, Outcome, Summary, run_apps, run_calm, run_cluster, run_seeds, seed_count, takeover,
};

/// How many seeds of apps run without `WXSUB_SEEDS`.
const APP_SEEDS: u64 = 2;

/// The same of clusters.
const CLUSTER_SEEDS: u64 = 3;

/// The number of runs of each kind of takeover, without `WXSUB_SEEDS`.
const TAKEOVER_RUNS: u64 = 10;

/// The longest takeover: a lease of 6 s, and a check by a peer every 1.5 s.
const MAX_TAKEOVER: Duration = Duration::from_secs(10);

/// The longest time until all servers hold a new token, if notifications arrive.
const MAX_SPREAD: Duration = Duration::from_millis(50);

#[test]
fn every_seed_of_apps_keeps_the_invariants() {
    let count = seed_count(APP_SEEDS);
    let results = run_seeds("simulation every_seed_of_apps", count, run_apps, |summary| &summary.violations);
    let mut totals = Summary::default();
    let seeds = results.len();
    results.into_iter().for_each(|summary| totals.add(summary));
    eprintln!("{seeds} seeds: {}", totals.line());
}

#[test]
fn every_seed_of_a_cluster_keeps_the_invariants() {
    let count = seed_count(CLUSTER_SEEDS);
    let results = run_seeds("simulation every_seed_of_a_cluster", count, run_cluster, Outcome::violations);
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
    assert_eq!(run_apps(7, false), run_apps(7, false));
    assert_eq!(run_cluster(7, false), run_cluster(7, false));
}

#[test]
fn killed_or_suspended_refresher_is_replaced_within_10_seconds() {
    let mut all = Vec::new();
    for servers in [3, 50] {
        for at in [FetchPhase::Start, FetchPhase::Refresh, FetchPhase::Rejection] {
            let results = run_seeds(
                "simulation killed_or_suspended_refresher",
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
    let results =
        run_seeds("simulation new_token", seed_count(TAKEOVER_RUNS).div_ceil(10), run, Outcome::violations);
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
