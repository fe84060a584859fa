//! How fast the messages of an app are posted.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;

/// A token bucket. It holds the permits of a tenth of a second, and at least one.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<TokenBucket>);

impl Pace {
    pub(crate) fn new(rate: NonZeroU32, per: Duration) -> Self {
        let interval = per / rate.get();
        let in_a_tenth = Duration::from_millis(100).as_nanos() / interval.as_nanos().max(1);
        let capacity = u32::try_from(in_a_tenth).unwrap_or(u32::MAX).max(1);
        Self(Mutex::new(TokenBucket::new(capacity, interval)))
    }

    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes as many permits as there are, at most so many.
    pub(crate) fn take(&self, max: usize, now: MonotonicInstant) -> usize {
        let mut bucket = self.bucket();
        (0..max).take_while(|_| bucket.try_acquire(now).is_ok()).count()
    }

    /// Gives unused permits back.
    pub(crate) fn give_back(&self, unused: usize) {
        let mut bucket = self.bucket();
        (0..unused).for_each(|_| bucket.release());
    }

    /// When there is a permit.
    pub(crate) fn next_at(&self) -> MonotonicInstant {
        let origin = MonotonicInstant::default();
        origin + self.bucket().wait(origin)
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
