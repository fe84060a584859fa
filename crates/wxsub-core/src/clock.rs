//! The only source of time.

use std::fmt;
use std::future::pending;
use std::ops::Add;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use auto_impl::auto_impl;

/// Maximum difference between correct wall clocks. A recorded time further in the future comes from a wrong clock.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A time on a monotonic clock: nanoseconds since the origin of that clock.
///
/// The clock stands still while the machine is suspended, so expiry is also checked on the wall clock. Values of
/// different clocks cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicInstant(u64);

impl MonotonicInstant {
    /// Creates the time this long after the origin.
    #[inline]
    pub fn from_origin(since: Duration) -> Self {
        let nanos = since.as_secs().saturating_mul(1_000_000_000);
        Self(nanos.saturating_add(since.subsec_nanos().into()))
    }

    /// Returns the time this much earlier, but not before the origin.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(Self::from_origin(duration).0))
    }

    /// Returns the time since `earlier`. Zero if `earlier` is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The time this much later, or the latest one.
impl Add<Duration> for MonotonicInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::from_origin(duration).0))
    }
}

/// A time on the wall clock: milliseconds since 1970 (UTC). The clock can jump forward and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Creates the time this many milliseconds after 1970.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the time this much earlier, but not before 1970.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// Returns the time since `earlier`. Zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A time before 1970 is 1970.
impl From<SystemTime> for UnixMillis {
    #[inline]
    fn from(time: SystemTime) -> Self {
        Self(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// The time this much later, or the latest one.
impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

/// Returns a duration in whole milliseconds, or the largest number.
#[inline]
pub fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into())
}

/// A time on both clocks: now, or a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClockReading {
    /// On the monotonic clock.
    pub mono: MonotonicInstant,
    /// On the wall clock.
    pub wall: UnixMillis,
}

impl ClockReading {
    /// Creates a reading of both clocks.
    pub fn new(mono: MonotonicInstant, wall: UnixMillis) -> Self {
        Self { mono, wall }
    }

    /// Returns the time this much earlier on both clocks.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self { mono: self.mono.before(duration), wall: self.wall.before(duration) }
    }

    /// Returns whether `now` has reached this deadline on either clock. So a clock jump or a suspended machine
    /// cannot hide it.
    #[inline]
    pub fn is_past(self, now: Self) -> bool {
        now.mono >= self.mono || now.wall >= self.wall
    }

    /// Returns the time from `now` to this deadline, on the clock that reaches it first.
    pub fn remaining(self, now: Self) -> Duration {
        self.mono.duration_since(now.mono).min(self.wall.since(now.wall))
    }
}

/// The time this much later on both clocks.
impl Add<Duration> for ClockReading {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self { mono: self.mono + duration, wall: self.wall + duration }
    }
}

/// Reads the time and waits. Tests use the `ManualClock` of the feature `testing`.
#[async_trait]
#[auto_impl(Arc)]
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the current time.
    fn now(&self) -> ClockReading;

    /// Waits until `at`.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future ends the wait and has no other effect.
    async fn sleep_until(&self, at: MonotonicInstant);
}

/// The clock of the system. Waiting needs a tokio runtime with its timer enabled.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Creates a clock whose origin is now.
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
        ClockReading::new(MonotonicInstant::from_origin(self.origin.elapsed()), SystemTime::now().into())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the real clock is waited for")]
    async fn sleep_until(&self, at: MonotonicInstant) {
        match self.origin.checked_add(at.duration_since(MonotonicInstant::default())) {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            // The clock of this machine cannot represent this time.
            None => pending().await,
        }
    }
}

/// Runs `work` until `deadline`. Returns `None` if it is not ready by then. Work that is ready wins over a past
/// deadline.
///
/// # Cancel safety
///
/// As `work`, which is dropped at the deadline.
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
    fn deadline_is_past_on_either_clock() {
        let start =
            ClockReading::new(MonotonicInstant::from_origin(Duration::from_secs(9)), UnixMillis::new(5_000));
        let deadline = start + Duration::from_secs(10);
        assert!(!deadline.is_past(start) && deadline.is_past(deadline));
        assert!(deadline.is_past(ClockReading { mono: deadline.mono, ..start }));
        assert!(deadline.is_past(ClockReading { wall: deadline.wall, ..start }));
        assert_eq!(
            deadline.remaining(ClockReading { wall: start.wall + Duration::from_secs(4), ..start }).as_secs(),
            6
        );
    }

    #[test]
    fn system_clock_shows_the_time() {
        let clock = SystemClock::new();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.mono <= second.mono && first.wall > UnixMillis::new(1_700_000_000_000));
    }

    #[test]
    fn extreme_times_do_not_panic() {
        let end = ClockReading::new(MonotonicInstant(u64::MAX), UnixMillis(u64::MAX));
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(ClockReading::default().before(Duration::MAX), ClockReading::default());
        assert_eq!(ClockReading::default().remaining(end), Duration::ZERO);
    }
}
