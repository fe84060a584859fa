//! Random delays for schedules, from a seed, so that a simulation can be repeated. Not for secrets.

use std::time::Duration;

/// A random number generator that spreads attempts in time.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(fastrand::Rng);

/// Returns a seed from the system's random number generator. Without one it is 0, and processes are not spread in
/// time.
pub(crate) fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns a random duration from zero up to, but not including, `max`. Zero if `max` is zero.
    pub(crate) fn uniform_below(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.0.u64(0..nanos.max(1)))
    }

    /// Returns a random duration within ± `percent` of `middle`.
    pub(crate) fn within_percent(&mut self, middle: Duration, percent: u32) -> Duration {
        let spread = middle / 100 * percent;
        middle.saturating_sub(spread) + self.uniform_below(spread * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_percent_uses_its_whole_range() {
        let (mut jitter, hour) = (Jitter::seeded(1), Duration::from_secs(3600));
        let drawn: Vec<_> = (0..1_000).map(|_| jitter.within_percent(hour, 10)).collect();
        assert!(
            *drawn.iter().min().unwrap() < hour / 100 * 91 && *drawn.iter().max().unwrap() > hour / 100 * 109
        );
    }

    proptest::proptest! {
        #[test]
        fn durations_stay_within_bounds(seed: u64, millis in 0_u64..10_000_000, percent in 0_u32..100) {
            let (mut jitter, middle) = (Jitter::seeded(seed), Duration::from_millis(millis));
            let around = jitter.within_percent(middle, percent);
            assert!(around >= middle / 100 * (100 - percent) && around <= middle / 100 * (100 + percent) + Duration::from_micros(1));
            assert!(middle.is_zero() || jitter.uniform_below(middle) < middle);
        }
    }
}
