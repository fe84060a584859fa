//! Time comes in through here, and nowhere else.

use std::fmt;
use std::future::pending;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// Wall clocks that differ by at most this much count as equal. A recorded time that lies further in the future was written
/// by a wrong clock.
pub(crate) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A point on a clock that never goes back: nanoseconds since an origin of that clock's own. It stands still while a
/// machine is suspended, so lives are watched on the wall clock too. Values of different clocks do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicInstant(u64);

impl MonotonicInstant {
    /// This long after the origin.
    #[must_use]
    pub fn from_origin(since: Duration) -> Self {
        let nanos = since.as_secs().saturating_mul(1_000_000_000);
        Self(nanos.saturating_add(since.subsec_nanos().into()))
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::from_origin(duration).0))
    }

    /// This much earlier, but never before the origin.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(Self::from_origin(duration).0))
    }

    /// How long it is from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A point on the wall clock: milliseconds since 1970 (UTC). It can jump, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// This many milliseconds after 1970.
    #[must_use]
    pub fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// The milliseconds.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier, but never before 1970.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long it is from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into())
}

/// Now, or a deadline, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClockReading {
    /// On the clock that never goes back.
    pub mono: MonotonicInstant,
    /// On the wall clock.
    pub wall: UnixMillis,
}

impl ClockReading {
    /// This point on both clocks.
    #[must_use]
    pub fn new(mono: MonotonicInstant, wall: UnixMillis) -> Self {
        Self { mono, wall }
    }

    /// This much later, on both clocks.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self { mono: self.mono.after(duration), wall: self.wall.after(duration) }
    }

    /// This much earlier, on both clocks.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self { mono: self.mono.before(duration), wall: self.wall.before(duration) }
    }

    /// Whether `now` has reached this deadline on either clock: neither a jump nor a suspended machine hides it.
    #[must_use]
    pub fn is_past(self, now: Self) -> bool {
        now.mono >= self.mono || now.wall >= self.wall
    }

    /// How long it is from `now` to this deadline, on the clock that reaches it first.
    #[must_use]
    pub fn remaining(self, now: Self) -> Duration {
        self.mono.duration_since(now.mono).min(self.wall.since(now.wall))
    }
}

/// Gives the time, and waits. The one way in which time passes here; in tests it is a
/// [`ManualClock`](crate::testing::ManualClock).
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> ClockReading;

    /// Returns once `at` is reached.
    ///
    /// # Cancel safety
    /// Dropping the future stops the wait and has no other effect.
    async fn sleep_until(&self, at: MonotonicInstant);
}

/// The real clock. Sleeping needs a tokio runtime with its timer enabled.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the real clock is read")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the real clock is read")]
    fn now(&self) -> ClockReading {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ClockReading::new(
            MonotonicInstant::from_origin(self.origin.elapsed()),
            UnixMillis::default().after(wall),
        )
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the real clock is waited for")]
    async fn sleep_until(&self, at: MonotonicInstant) {
        match self.origin.checked_add(at.duration_since(MonotonicInstant::default())) {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            // That far this machine does not count.
            None => pending().await,
        }
    }
}

/// Gives up waiting for `work` at `deadline`; `None` then. Work that is ready wins over a deadline that has passed.
///
/// # Cancel safety
///
/// As safe as `work`, which is dropped at the deadline.
pub async fn timeout_at<T>(
    clock: &dyn Clock,
    deadline: MonotonicInstant,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        output = work => Some(output),
        () = clock.sleep_until(deadline) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_clock_reaches_a_deadline() {
        let start =
            ClockReading::new(MonotonicInstant::from_origin(Duration::from_secs(9)), UnixMillis::new(5_000));
        let deadline = start.after(Duration::from_secs(10));
        assert!(!deadline.is_past(start) && deadline.is_past(deadline));
        assert!(deadline.is_past(ClockReading { mono: deadline.mono, ..start }));
        assert!(deadline.is_past(ClockReading { wall: deadline.wall, ..start }));
        assert_eq!(
            deadline
                .remaining(ClockReading { wall: start.wall.after(Duration::from_secs(4)), ..start })
                .as_secs(),
            6
        );
    }

    #[test]
    fn the_system_clock_shows_the_time() {
        let clock = SystemClock::new();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.mono <= second.mono && first.wall > UnixMillis::new(1_700_000_000_000));
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let end = ClockReading::new(MonotonicInstant(u64::MAX), UnixMillis(u64::MAX));
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(ClockReading::default().before(Duration::MAX), ClockReading::default());
        assert_eq!(ClockReading::default().remaining(end), Duration::ZERO);
    }
}
