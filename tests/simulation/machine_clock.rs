//! The clock of one machine: tokio's paused time, and a wall clock that somebody may set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wxsub_core::clock::{Clock, Moment, Mono, UnixMillis};

/// It is the year 2026.
const START: Duration = Duration::from_secs(1_780_000_000);

#[derive(Debug)]
pub(super) struct MachineClock {
    start: Instant,
    /// How far the wall clock is ahead, in milliseconds.
    ahead: AtomicI64,
}

impl MachineClock {
    /// Right, and nothing has happened yet.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), ahead: AtomicI64::new(0) }
    }

    /// How much time has passed.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) fn passed(&self) -> Duration {
        Instant::now() - self.start
    }

    /// The true time since 1970.
    pub(super) fn truth(&self) -> Duration {
        START + self.passed()
    }

    /// Somebody sets the wall clock; no time passes.
    pub(super) fn set(&self, seconds: i64) {
        self.ahead.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Waits until so much time has passed since the start.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) async fn until(&self, passed: Duration) {
        tokio::time::sleep_until(self.start + passed).await;
    }

    /// Waits.
    pub(super) async fn sleep(&self, time: Duration) {
        self.until(self.passed() + time).await;
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> Moment {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let truth = i64::try_from(self.truth().as_millis()).unwrap();
        let wall = UnixMillis::new(u64::try_from(truth + ahead).unwrap());
        Moment::new(Mono::from_origin(self.passed()), wall)
    }

    async fn sleep_until(&self, at: Mono) {
        self.until(at.since(Mono::default())).await;
    }
}
