//! The clock of one node: tokio's paused time, a wall clock that can be set, and spans in which the node is suspended.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wxsub_core::clock::{Clock, ClockReading, MonotonicInstant, UnixMillis};

/// The simulation starts in 2026.
const START: Duration = Duration::from_secs(1_780_000_000);

#[derive(Debug)]
pub(super) struct NodeClock {
    start: Instant,
    /// How far the wall clock is ahead of true time, in milliseconds.
    ahead: AtomicI64,
    /// Spans in which no task of the node wakes up, as after SIGSTOP.
    suspensions: Mutex<Vec<Range<Duration>>>,
}

impl NodeClock {
    /// A clock that shows true time and has no suspensions.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), ahead: AtomicI64::new(0), suspensions: Mutex::default() }
    }

    /// Time since the start.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) fn elapsed(&self) -> Duration {
        Instant::now() - self.start
    }

    /// The true time since 1970.
    pub(super) fn true_time(&self) -> Duration {
        START + self.elapsed()
    }

    /// Moves the wall clock by this many seconds.
    pub(super) fn set(&self, seconds: i64) {
        self.ahead.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Suspends the node for this span.
    pub(super) fn suspend(&self, span: Range<Duration>) {
        self.suspensions.lock().unwrap().push(span);
    }

    /// Whether the node was suspended at any time of this span.
    pub(super) fn was_suspended(&self, span: &Range<Duration>) -> bool {
        self.suspensions
            .lock()
            .unwrap()
            .iter()
            .any(|suspension| suspension.start <= span.end && span.start <= suspension.end)
    }

    /// Waits until this time since the start, and to the end of a suspension at that time.
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused: this is the virtual time")]
    pub(super) async fn wait_until(&self, elapsed: Duration) {
        let mut next = Some(elapsed);
        while let Some(at) = next {
            tokio::time::sleep_until(self.start + at).await;
            next = self.suspended_until();
        }
    }

    fn suspended_until(&self) -> Option<Duration> {
        let (elapsed, suspensions) = (self.elapsed(), self.suspensions.lock().unwrap());
        suspensions.iter().find(|suspension| suspension.contains(&elapsed)).map(|suspension| suspension.end)
    }

    /// Waits this long.
    pub(super) async fn sleep(&self, time: Duration) {
        self.wait_until(self.elapsed() + time).await;
    }
}

#[async_trait]
impl Clock for NodeClock {
    fn now(&self) -> ClockReading {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let true_time = i64::try_from(self.true_time().as_millis()).unwrap();
        let wall = UnixMillis::new(u64::try_from(true_time + ahead).unwrap());
        ClockReading::new(MonotonicInstant::from_origin(self.elapsed()), wall)
    }

    async fn sleep_until(&self, at: MonotonicInstant) {
        self.wait_until(at.duration_since(MonotonicInstant::default())).await;
    }
}
