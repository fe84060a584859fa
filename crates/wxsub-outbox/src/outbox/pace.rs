//! How fast the messages of an app are posted.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;

/// A token bucket. It holds the permits of a tenth of a second, and at least one.
#[derive(Debug)]
pub(crate) struct Pace {
    capacity: u32,
    interval: Duration,
    /// When the bucket is full again if no permit is taken.
    full_at: Mutex<MonotonicInstant>,
}

impl Pace {
    pub(crate) fn new(rate: NonZeroU32, per: Duration) -> Self {
        let interval = per / rate.get();
        let in_a_tenth = Duration::from_millis(100).as_nanos() / interval.as_nanos().max(1);
        Self {
            capacity: u32::try_from(in_a_tenth).unwrap_or(u32::MAX).max(1),
            interval,
            full_at: Mutex::default(),
        }
    }

    /// Takes as many permits as there are, at most so many.
    pub(crate) fn take(&self, most: usize, now: MonotonicInstant) -> usize {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = full_at.duration_since(now).as_nanos().div_ceil(self.interval.as_nanos().max(1));
        let available = self.capacity.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX));
        let taken = available.min(u32::try_from(most).unwrap_or(u32::MAX));
        *full_at = (*full_at).max(now) + self.interval.saturating_mul(taken);
        usize::try_from(taken).unwrap_or(most)
    }

    /// Gives unused permits back.
    pub(crate) fn give_back(&self, unused: usize) {
        let unused = u32::try_from(unused).unwrap_or(u32::MAX);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = full_at.before(self.interval.saturating_mul(unused));
    }

    /// When there is a permit.
    pub(crate) fn next_at(&self) -> MonotonicInstant {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.before(self.interval.saturating_mul(self.capacity - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_millis(millis))
    }

    fn pace(per_second: u32) -> Pace {
        Pace::new(NonZeroU32::new(per_second).unwrap(), Duration::from_secs(1))
    }

    #[test]
    fn permits_come_at_the_rate_and_add_up_to_a_tenth_of_a_second() {
        for (rate, burst) in [(1, 1), (5, 1), (100, 10), (2_000, 200)] {
            let pace = pace(rate);
            let in_a_second: usize = (10_000..11_000).map(|millis| pace.take(usize::MAX, at(millis))).sum();
            let expected = usize::try_from(rate).unwrap();
            assert!((expected..=expected + burst).contains(&in_a_second), "{rate}: {in_a_second}");
            assert_eq!(pace.take(usize::MAX, at(90_000)), burst, "{rate}");
            assert_eq!(pace.take(1, at(90_000)), 0);
            assert!(pace.next_at() > at(90_000) && pace.next_at() <= at(91_000));
        }
    }

    #[test]
    fn unused_permits_can_be_taken_again() {
        let pace = pace(40);
        assert_eq!(pace.take(9, at(5_000)), 4);
        pace.give_back(3);
        assert_eq!(pace.take(9, at(5_000)), 3);
        assert_eq!((pace.next_at(), pace.take(9, pace.next_at())), (at(5_025), 1));
    }
}
