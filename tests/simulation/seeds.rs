//! Many seeds on all processors, and what is said of those that went wrong.

use std::env::var;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// One seed, told in full, if this is set.
const ONE_SEED: &str = "WXSUB_SEED";

/// A seed that was played.
pub(crate) trait Played {
    /// What went wrong.
    fn complaints(&self) -> &[String];
}

/// Plays so many seeds, or the one that somebody asks for, which tells what happens. `test` is what calls this.
///
/// # Panics
/// If a seed goes wrong; it says how to play it again.
pub(crate) fn play_all<T: Played + Debug + Send>(
    test: &str,
    seeds: u64,
    play: impl Fn(u64, bool) -> T + Sync,
) -> Vec<T> {
    #[expect(clippy::disallowed_methods, reason = "how somebody asks to play one seed again")]
    let seeds = match var(ONE_SEED) {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..seeds).collect::<Vec<u64>>(),
    };
    let (next, played) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(*seed, seeds.len() == 1);
                    played.lock().unwrap_or_else(PoisonError::into_inner).push((*seed, outcome));
                }
            });
        }
    });
    let played = played.into_inner().unwrap();
    let wrong: Vec<_> = played.iter().filter(|(_, outcome)| !outcome.complaints().is_empty()).collect();
    if let Some((seed, shortest)) = wrong.iter().min_by_key(|(_, outcome)| outcome.complaints().len()) {
        panic!(
            "{} of {} seeds went wrong: {:?}. Seed {seed}:\n{}\nPlay it again:\n  {ONE_SEED}={seed} cargo test --profile simulation \
             --package wxsub-tests --test {test} -- --nocapture\n",
            wrong.len(),
            played.len(),
            wrong.iter().map(|(seed, _)| seed).collect::<Vec<_>>(),
            shortest.complaints().join("\n")
        );
    }
    played.into_iter().map(|(_, outcome)| outcome).collect()
}
