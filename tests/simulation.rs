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
    mod calendar;
    mod flaky_store;
    mod line;
    mod machine;
    mod machine_clock;
    mod weather;
    mod witness;
    mod world;

    pub(crate) use witness::Account;
    pub(crate) use world::play;
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use simulation::play;

/// An ordinary debug build is slow, and plays a few only; `scripts/test` builds this file so that it can play them all.
const SEEDS: u64 = if cfg!(debug_assertions) { 10 } else { 1_000 };

/// One seed, told in full, if this is set.
const ONE_SEED: &str = "WXSUB_SEED";

#[test]
fn a_thousand_seeds() {
    #[expect(clippy::disallowed_methods, reason = "how somebody asks to play one seed again")]
    let seeds = match std::env::var(ONE_SEED) {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect::<Vec<u64>>(),
    };
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let account = play(*seed, seeds.len() == 1);
                    totals.lock().unwrap_or_else(PoisonError::into_inner).add(&account);
                    if !account.complaints.is_empty() {
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push((*seed, account));
                    }
                }
            });
        }
    });
    eprintln!("{} seeds: {:?}", seeds.len(), totals.into_inner().unwrap());
    let wrong = wrong.into_inner().unwrap();
    if let Some((seed, account)) = wrong.iter().min_by_key(|(_, account)| account.complaints.len()) {
        panic!(
            "{} of {} seeds went wrong: {:?}. Seed {seed}:\n{}\nPlay it again:\n  {ONE_SEED}={seed} cargo test --profile simulation \
             --package wxsub-tests --test simulation a_thousand_seeds -- --nocapture\n",
            wrong.len(),
            seeds.len(),
            wrong.iter().map(|(seed, _)| seed).collect::<Vec<_>>(),
            account.complaints.join("\n")
        );
    }
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
    fn add(&mut self, account: &simulation::Account) {
        self.sent += account.sent;
        self.not_sent += account.not_sent;
        self.maybe_sent += account.maybe_sent;
        self.refused += account.refused;
        self.token_requests += account.token_requests;
        self.crashes += account.crashes;
    }
}
