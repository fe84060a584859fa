//! The clock of one machine: tokio's paused time, a wall clock that somebody may set, and times at which the machine
//! stands still.

use std::ops::Range;
use std::sync::Mutex;
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
    /// When nothing runs here, as after SIGSTOP: time goes on, and whoever waits goes on waiting.
    still: Mutex<Vec<Range<Duration>>>,
}

impl MachineClock {
    /// Right, and nothing has happened yet.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), ahead: AtomicI64::new(0), still: Mutex::default() }
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

    /// The machine will stand still for a while.
    pub(super) fn stand_still(&self, span: Range<Duration>) {
        self.still.lock().unwrap().push(span);
    }

    /// Whether the machine stood still, or does, at any time of this span.
    pub(super) fn stood_still(&self, span: &Range<Duration>) -> bool {
        self.still.lock().unwrap().iter().any(|still| still.start <= span.end && span.start <= still.end)
    }

    /// Waits until so much time has passed since the start; and on, if the machine stands still then.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) async fn until(&self, passed: Duration) {
        let mut passed = Some(passed);
        while let Some(until) = passed {
            tokio::time::sleep_until(self.start + until).await;
            passed = self.still_until();
        }
    }

    fn still_until(&self) -> Option<Duration> {
        let (passed, still) = (self.passed(), self.still.lock().unwrap());
        still.iter().find(|still| still.contains(&passed)).map(|still| still.end)
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
