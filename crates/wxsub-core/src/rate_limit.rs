//! Rate limits.

use std::time::Duration;

use crate::clock::MonotonicInstant;

/// The longest time in which a bucket fills. Longer ones do not fit a monotonic clock.
const MAX_REFILL_TIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A token bucket: it holds `capacity` permits and gains one in each `refill_interval`. It reads no clock.
///
/// ```
/// use std::time::Duration;
/// use wxsub_core::clock::MonotonicInstant;
/// use wxsub_core::rate_limit::TokenBucket;
///
/// let mut bucket = TokenBucket::new(2, Duration::from_secs(60));
/// let now = MonotonicInstant::from_origin(Duration::from_secs(1_000));
/// assert_eq!(bucket.try_acquire(now), Ok(()));
/// assert_eq!(bucket.try_acquire(now), Ok(()));
/// assert_eq!(bucket.try_acquire(now), Err(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone)]
pub struct TokenBucket {
    capacity: u32,
    refill_interval: Duration,
    /// When the bucket is full again if no permit is taken.
    full_at: MonotonicInstant,
}

impl TokenBucket {
    /// Creates a full bucket. A capacity of 0 counts as 1, and a bucket that takes longer than 100 years to fill as one that
    /// takes 100 years.
    pub fn new(capacity: u32, refill_interval: Duration) -> Self {
        let capacity = capacity.max(1);
        let refill_interval = refill_interval.min(MAX_REFILL_TIME / capacity);
        Self { capacity, refill_interval, full_at: MonotonicInstant::default() }
    }

    /// Returns the time until a permit is available.
    pub fn wait(&self, now: MonotonicInstant) -> Duration {
        self.full_at.before(self.refill_interval * (self.capacity - 1)).duration_since(now)
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// The time until a permit is available.
    pub fn try_acquire(&mut self, now: MonotonicInstant) -> Result<(), Duration> {
        match self.wait(now) {
            Duration::ZERO => {
                self.force_acquire(now);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Takes a permit, even if none is available. Later ones are then available later.
    pub fn force_acquire(&mut self, now: MonotonicInstant) {
        self.full_at = self.full_at.max(now) + self.refill_interval;
    }

    /// Returns a permit that was not used.
    pub fn release(&mut self) {
        self.full_at = self.full_at.before(self.refill_interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn five_permits_then_one_a_minute() {
        let mut bucket = TokenBucket::new(5, Duration::from_secs(60));
        for _ in 0..5 {
            assert_eq!(bucket.try_acquire(at(1000)), Ok(()));
        }
        assert_eq!(bucket.try_acquire(at(1000)), Err(Duration::from_secs(60)));
        assert_eq!(bucket.try_acquire(at(1030)), Err(Duration::from_secs(30)));
        assert_eq!(bucket.try_acquire(at(1060)), Ok(()));
        assert_eq!(bucket.try_acquire(at(1061)), Err(Duration::from_secs(59)));
        // A long pause fills it up to five permits, not more.
        for _ in 0..5 {
            assert_eq!(bucket.try_acquire(at(100_000)), Ok(()));
        }
        assert!(bucket.try_acquire(at(100_000)).is_err());
    }

    #[test]
    fn released_permit_is_available_again() {
        let mut bucket = TokenBucket::new(2, Duration::from_secs(60));
        assert!(bucket.try_acquire(at(1000)).is_ok() && bucket.try_acquire(at(1000)).is_ok());
        bucket.release();
        assert_eq!(bucket.try_acquire(at(1000)), Ok(()));
        assert_eq!(bucket.try_acquire(at(1000)), Err(Duration::from_secs(60)));
        // A full bucket does not become fuller.
        bucket.release();
        bucket.release();
        bucket.release();
        let permits = (0..9).filter(|_| bucket.try_acquire(at(1000)).is_ok()).count();
        assert_eq!(permits, 2);
    }

    #[test]
    fn longest_interval_still_bounds_the_permits() {
        for (capacity, permits) in [(0, 1), (1, 1), (3, 3)] {
            let mut bucket = TokenBucket::new(capacity, Duration::MAX);
            let taken = (0..9).filter(|_| bucket.try_acquire(at(1000)).is_ok()).count();
            assert_eq!(taken, permits, "{capacity}");
        }
    }

    #[test]
    fn forced_permit_delays_the_next_one() {
        let mut bucket = TokenBucket::new(1, Duration::from_secs(60));
        bucket.force_acquire(at(1000));
        bucket.force_acquire(at(1000));
        assert_eq!(bucket.wait(at(1000)), Duration::from_secs(120));
    }
}
