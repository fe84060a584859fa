use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::{Clock, ClockReading, MonotonicInstant, UnixMillis};

/// How often ready tasks run before time passes. Each step from task to task takes one.
const MAX_TASK_HOPS: usize = 64;

/// A clock that only the test moves.
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
///     async move { clock.sleep_until(clock.now().mono + Duration::from_secs(3600)).await }
/// });
/// clock.advance_and_run(Duration::from_secs(3600)).await;
/// sleeper.await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<ClockReading>,
    /// The number of sleepers for each deadline.
    sleepers: Mutex<BTreeMap<MonotonicInstant, usize>>,
}

impl ManualClock {
    /// Creates a clock that shows a time in 2026.
    pub fn new() -> Self {
        let start = ClockReading::new(
            MonotonicInstant::from_origin(Duration::from_secs(1_000)),
            UnixMillis::new(1_780_000_000_000),
        );
        Self { now: watch::Sender::new(start), sleepers: Mutex::default() }
    }

    /// Moves both clocks. Sleepers whose deadline has passed wake, and their tasks run at the next await.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }

    /// Moves the time from one sleeper's deadline to the next, so that events happen in order. It is exact on a
    /// current-thread runtime only.
    ///
    /// # Cancel safety
    /// If the future is dropped, the clock stays at the time it has reached.
    pub async fn advance_and_run(&self, time: Duration) {
        let end = self.now().mono + time;
        loop {
            settle().await;
            let now = self.now().mono;
            let next = self.next_deadline().map_or(end, |next| next.min(end));
            self.advance(next.duration_since(now));
            if next == end {
                return settle().await;
            }
        }
    }

    /// The earliest time after now at which a sleeper wakes.
    pub fn next_deadline(&self) -> Option<MonotonicInstant> {
        let now = self.now().mono;
        self.sleepers.lock().keys().copied().find(|at| *at > now)
    }

    /// Sets the wall clock forward. No time passes.
    pub fn set_forward(&self, by: Duration) {
        self.now.send_modify(|now| now.wall = now.wall + by);
    }

    /// Sets the wall clock back. No time passes.
    pub fn set_back(&self, by: Duration) {
        self.now.send_modify(|now| now.wall = now.wall.before(by));
    }
}

/// Runs all ready tasks.
async fn settle() {
    for _ in 0..MAX_TASK_HOPS {
        tokio::task::yield_now().await;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers a sleeper until it wakes or is dropped.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    at: MonotonicInstant,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.clock.sleepers.lock();
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
        *self.sleepers.lock().entry(at).or_default() += 1;
        let _sleeper = Sleeper { clock: self, at };
        // The sender is part of `self`, so it exists.
        let _ = now.wait_for(|now| now.mono >= at).await;
    }
}
