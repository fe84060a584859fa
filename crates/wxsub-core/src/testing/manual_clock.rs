use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::{Clock, ClockReading, MonotonicInstant, UnixMillis};

/// How often ready tasks are let run before time goes on. Each hop from task to task takes one.
const HOPS: usize = 64;

/// A clock that stands still until you move it.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use wxsub_core::clock::Clock;
/// use wxsub_core::testing::ManualClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = Arc::new(ManualClock::new());
/// let sleeper = tokio::spawn({
///     let clock = Arc::clone(&clock);
///     async move { clock.sleep_until(clock.now().mono.after(Duration::from_secs(3600))).await }
/// });
/// clock.advance_and_run(Duration::from_secs(3600)).await;
/// sleeper.await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<ClockReading>,
    /// How many sleep until when.
    sleepers: Mutex<BTreeMap<MonotonicInstant, usize>>,
}

impl ManualClock {
    /// It is the year 2026, and nothing moves.
    #[must_use]
    pub fn new() -> Self {
        let start = ClockReading::new(
            MonotonicInstant::from_origin(Duration::from_secs(1_000)),
            UnixMillis::new(1_780_000_000_000),
        );
        Self { now: watch::Sender::new(start), sleepers: Mutex::default() }
    }

    /// Moves both clocks at once. Sleepers whose time has come wake; the tasks run when you next await.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.after(by));
    }

    /// Lets time pass from one sleeper's deadline to the next, so that whatever happens on the way happens in order.
    /// Needs a current-thread runtime to be exact.
    ///
    /// # Cancel safety
    /// Dropping it leaves the clock where it has come to.
    pub async fn advance_and_run(&self, time: Duration) {
        let end = self.now().mono.after(time);
        loop {
            settle().await;
            let now = self.now().mono;
            let next = self.sleepers().keys().copied().find(|at| *at > now).unwrap_or(end).min(end);
            self.advance(next.duration_since(now));
            if next == end {
                return settle().await;
            }
        }
    }

    /// The wall clock is set forward; no time passes.
    pub fn set_forward(&self, by: Duration) {
        self.now.send_modify(|now| now.wall = now.wall.after(by));
    }

    /// The wall clock is set back; no time passes.
    pub fn set_back(&self, by: Duration) {
        self.now.send_modify(|now| now.wall = now.wall.before(by));
    }

    fn sleepers(&self) -> MutexGuard<'_, BTreeMap<MonotonicInstant, usize>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..HOPS {
        tokio::task::yield_now().await;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody sleeping; forgotten when they wake or give up.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    at: MonotonicInstant,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.clock.sleepers();
        if let Some(count) = sleepers.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                sleepers.remove(&self.at);
            }
        }
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> ClockReading {
        *self.now.borrow()
    }

    async fn sleep_until(&self, at: MonotonicInstant) {
        let mut now = self.now.subscribe();
        *self.sleepers().entry(at).or_default() += 1;
        let _sleeper = Sleeper { clock: self, at };
        // The sender lives in `self`, so it cannot be gone.
        let _ = now.wait_for(|now| now.mono >= at).await;
    }
}
