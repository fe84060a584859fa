//! Rate limits: reports and short lifetimes must not cause a flood of calls to Weixin.

use std::time::Duration;

use crate::clock::{MAX_CLOCK_SKEW, MonotonicInstant, UnixMillis};

/// A token bucket. It holds `capacity` permits and gains one every `refill_interval`.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    capacity: u32,
    refill_interval: Duration,
    /// When the bucket is full again if no permit is taken.
    full_at: MonotonicInstant,
}

impl TokenBucket {
    /// Creates the limit of refreshes after reports: 5 at once, then one every 60 s. Only a refresh that starts
    /// takes a permit.
    pub(super) fn for_reports() -> Self {
        Self::new(5, Duration::from_secs(60))
    }

    /// Creates the limit of fetches: 20 at once, then one in each interval.
    pub(super) fn for_fetches(interval: Duration) -> Self {
        Self::new(20, interval)
    }

    fn new(capacity: u32, refill_interval: Duration) -> Self {
        Self { capacity, refill_interval, full_at: MonotonicInstant::default() }
    }

    /// Returns the time until a permit is available.
    pub(super) fn wait(&self, now: MonotonicInstant) -> Duration {
        self.full_at.before(self.refill_interval * (self.capacity - 1)).duration_since(now)
    }

    /// Takes a permit, even if none is available.
    pub(super) fn spend(&mut self, now: MonotonicInstant) {
        self.full_at = self.full_at.max(now) + self.refill_interval;
    }

    /// Takes a permit, or returns the time until one is available.
    pub(super) fn try_acquire(&mut self, now: MonotonicInstant) -> Result<(), Duration> {
        let wait = self.wait(now);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.spend(now);
        Ok(())
    }
}

/// The times of forced refreshes: at most one in 10 minutes and 6 a day.
///
/// Weixin allows 20 a day. The others remain for manual use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForceRefreshLog(Vec<UnixMillis>);

impl ForceRefreshLog {
    const MAX_PER_DAY: usize = 6;
    const MIN_INTERVAL: Duration = Duration::from_secs(600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Creates a log from stored times, in any order.
    #[must_use]
    pub fn new(used: Vec<UnixMillis>) -> Self {
        Self(used)
    }

    /// Returns the times within the last day.
    #[must_use]
    pub fn used(&self) -> &[UnixMillis] {
        &self.0
    }

    /// Records a forced refresh at `now`. Returns `false` if the limit does not allow it.
    ///
    /// Times more than 60 s in the future do not count: a wrong clock wrote them.
    pub fn try_acquire(&mut self, now: UnixMillis) -> bool {
        let future = now + MAX_CLOCK_SKEW;
        self.0.retain(|used| *used <= future && now.since(*used) < Self::DAY);
        let recent = self.0.iter().any(|used| now.since(*used) < Self::MIN_INTERVAL);
        if recent || self.0.len() >= Self::MAX_PER_DAY {
            return false;
        }
        self.0.push(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenEndpoint;

    #[test]
    fn five_reports_then_one_a_minute() {
        let mut limit = TokenBucket::for_reports();
        let at = |seconds| MonotonicInstant::from_origin(Duration::from_secs(seconds));
        for _ in 0..5 {
            assert_eq!(limit.try_acquire(at(1000)), Ok(()));
        }
        assert_eq!(limit.try_acquire(at(1000)), Err(Duration::from_secs(60)));
        assert_eq!(limit.try_acquire(at(1030)), Err(Duration::from_secs(30)));
        assert_eq!(limit.try_acquire(at(1060)), Ok(()));
        assert_eq!(limit.try_acquire(at(1061)), Err(Duration::from_secs(59)));
        // A long pause fills it up to five permits, not more.
        for _ in 0..5 {
            assert_eq!(limit.try_acquire(at(100_000)), Ok(()));
        }
        assert!(limit.try_acquire(at(100_000)).is_err());
    }

    #[test]
    fn forced_refreshes_are_ten_minutes_apart_and_six_a_day() {
        let mut log = ForceRefreshLog::default();
        let at = |minutes: u64| UnixMillis::new(1_000_000_000_000) + Duration::from_secs(60 * minutes);
        let taken = (0..24 * 60).filter(|minute| log.try_acquire(at(*minute))).collect::<Vec<_>>();
        assert_eq!(taken, [0, 10, 20, 30, 40, 50]);
        assert!(log.try_acquire(at(24 * 60)));
        assert_eq!(log.used(), [10, 20, 30, 40, 50, 24 * 60].map(at));
    }

    #[test]
    fn forced_refreshes_in_the_future_do_not_count() {
        let now = UnixMillis::new(1_000_000_000_000);
        let ahead = |seconds| now + Duration::from_secs(seconds);
        let mut log = ForceRefreshLog::new([61, 3_600, u64::MAX].map(ahead).to_vec());
        assert!(log.try_acquire(now));
        assert_eq!(log.used(), [now]);
        assert!(!ForceRefreshLog::new(vec![ahead(60)]).try_acquire(now));
    }

    #[test]
    fn a_day_of_fetches_stays_within_the_quota() {
        for (endpoint, most) in [(TokenEndpoint::Token, 1_460), (TokenEndpoint::StableToken, 8_660)] {
            let mut bucket = TokenBucket::for_fetches(endpoint.behavior().fetch_interval);
            let acquired = (0..86_400).filter(|s| {
                bucket.try_acquire(MonotonicInstant::from_origin(Duration::from_secs(*s))).is_ok()
            });
            assert!((most - 1..=most).contains(&acquired.count()), "{endpoint:?}");
        }
    }
}
