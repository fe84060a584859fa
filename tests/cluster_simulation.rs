//! Fifty control servers under virtual time that share one token through one Redis, in trouble that a seed decides. A seed that
//! goes wrong prints the command that plays it again, with everything that happened. docs/cluster-simulation.md says what is
//! played and what must hold.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may panic, and say why"
)]

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
    #[allow(dead_code, reason = "some of it is about keepers that work alone")]
    #[path = "../simulation/oracle.rs"]
    mod oracle;
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
    pub(crate) use seed::play;
    pub(crate) use seeds::{Played, play_all};
    pub(crate) use takeover::{At, calm, takeover};
}

use std::time::Duration;

use cluster_simulation::{At, Outcome, Played, calm, play, play_all, takeover};

/// An ordinary debug build is slow, and plays a few only; `scripts/test` builds this file so that it can play them all.
const SEEDS: u64 = if cfg!(debug_assertions) { 3 } else { 1_000 };

/// How often each kind of takeover is played.
const RUNS: u64 = if cfg!(debug_assertions) { 10 } else { 200 };

/// Until another has taken over: a lease of 30 s, and somebody who looks every 1.5 s.
const TAKEOVER: Duration = Duration::from_secs(32);

/// Until all servers hold a new token, where hints arrive.
const SPREAD: Duration = Duration::from_millis(50);

impl Played for Outcome {
    fn complaints(&self) -> &[String] {
        &self.account.complaints
    }
}

#[test]
fn a_thousand_seeds() {
    let played = play_all("cluster_simulation a_thousand_seeds", SEEDS, play);
    let sum = |count: fn(&Outcome) -> u64| played.iter().map(count).sum::<u64>();
    eprintln!(
        "{} seeds: {} sent, {} refused, {} not sent, {} maybe sent; {} token requests left, {} were seen; {} crashes; \
         {} store operations; settled after {:?}",
        played.len(),
        sum(|outcome| outcome.account.sent),
        sum(|outcome| outcome.account.refused),
        sum(|outcome| outcome.account.not_sent),
        sum(|outcome| outcome.account.maybe_sent),
        sum(|outcome| outcome.account.token_requests),
        sum(|outcome| outcome.account.reached),
        sum(|outcome| outcome.account.crashes),
        sum(|outcome| outcome.operations),
        spread(played.iter().map(|outcome| outcome.unsettled).collect()),
    );
}

#[test]
fn a_seed_plays_the_same_twice() {
    assert_eq!(play(7, false), play(7, false));
}

#[test]
fn a_refresher_that_dies_or_stands_still_is_replaced_within_32_seconds() {
    let mut all = Vec::new();
    for servers in [3, 50] {
        for at in [At::Start, At::Refresh, At::Rejection] {
            let played = play_all("cluster_simulation a_refresher", RUNS, |seed, tells| {
                let (outcome, took) = takeover(seed, servers, at, tells);
                Run { outcome, took }
            });
            let took: Vec<_> = played.iter().filter_map(|run| run.took).collect();
            assert!(3 * took.len() > played.len(), "of {servers}, {at:?}: only {} were hit", took.len());
            eprintln!("{servers} servers, {at:?}, {} runs: {:?}", took.len(), spread(took.clone()));
            all.extend(took);
        }
    }
    let Spread { most, .. } = spread(all.clone());
    eprintln!("all {} runs: {:?}", all.len(), spread(all));
    assert!(most <= TAKEOVER, "{most:?}");
}

#[derive(Debug)]
struct Run {
    outcome: Outcome,
    took: Option<Duration>,
}

impl Played for Run {
    fn complaints(&self) -> &[String] {
        self.outcome.complaints()
    }
}

#[test]
fn all_servers_hold_a_new_token_at_once() {
    let played = play_all("cluster_simulation all_servers", RUNS / 10, |seed, _| calm(seed, 50));
    let spreads: Vec<_> = played.iter().flat_map(|outcome| outcome.spreads.clone()).collect();
    let Spread { most, .. } = spread(spreads.clone());
    eprintln!("{} refreshes: {:?}", spreads.len(), spread(spreads));
    assert!(most <= SPREAD, "{most:?}");
}

/// Where durations lie.
#[derive(Debug)]
#[expect(dead_code, reason = "to be printed")]
struct Spread {
    half: Duration,
    all_but_a_hundredth: Duration,
    most: Duration,
}

fn spread(mut durations: Vec<Duration>) -> Spread {
    durations.sort();
    let at = |hundredths: usize| durations[(durations.len() - 1) * hundredths / 100];
    Spread { half: at(50), all_but_a_hundredth: at(99), most: at(100) }
}
