//! Runs many seeds in virtual time on all processors, and reports those that break an invariant.

use std::env::var;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Runs this one seed, with a trace.
const ONE_SEED: &str = "WXSUB_SEED";
/// Runs this many seeds instead of the default.
const SEED_COUNT: &str = "WXSUB_SEEDS";
/// The first of these seeds, so that a long run can be split. Default: 0.
const FIRST_SEED: &str = "WXSUB_FIRST_SEED";

/// How many seeds to run: `WXSUB_SEEDS`, or this default.
pub(crate) fn seed_count(default: u64) -> u64 {
    number(SEED_COUNT).unwrap_or(default)
}

/// Runs `count` seeds from `WXSUB_FIRST_SEED` on; or only the seed `WXSUB_SEED`, with a trace. `test` names the calling test on the command
/// line. `violations` are the invariants that a seed broke.
///
/// # Panics
/// If a seed breaks an invariant. The message has the command that runs this seed again.
pub(crate) fn run_seeds<T: Send>(
    test: &str,
    count: u64,
    run: impl Fn(u64, bool) -> T + Sync,
    violations: fn(&T) -> &[String],
) -> Vec<T> {
    let (one_seed, first) = (number(ONE_SEED), number(FIRST_SEED).unwrap_or_default());
    let seeds: Vec<u64> = one_seed.map_or_else(|| (first..first + count).collect(), |seed| vec![seed]);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(*seed, one_seed.is_some());
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((*seed, result));
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let failed: Vec<_> = results.iter().filter(|(_, result)| !violations(result).is_empty()).collect();
    if let Some((seed, shortest)) = failed.iter().min_by_key(|(_, result)| violations(result).len()) {
        panic!(
            "{} of {} seeds broke an invariant: {:?}. Seed {seed}:\n{}\nRun it again:\n  {ONE_SEED}={seed} cargo test --workspace \
             --test {test} -- --nocapture\n",
            failed.len(),
            results.len(),
            failed.iter().map(|(seed, _)| seed).collect::<Vec<_>>(),
            violations(shortest).join("\n")
        );
    }
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs this in virtual time, which jumps to the next event as soon as all tasks wait.
pub(crate) fn in_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run)
}

/// Waits for all tasks, and reports those that panic.
pub(crate) async fn join_all(mut tasks: JoinSet<()>, report: impl Fn(&str)) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            report(&format!("panic: {panic}"));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the caller of the test chooses the seeds")]
fn number(name: &str) -> Option<u64> {
    var(name).ok().map(|text| text.parse().unwrap())
}
