//! Random delays for schedules, from a seed, so that a simulation can be repeated. Not for secrets.

use std::time::Duration;

/// A random number generator (SplitMix64) that spreads attempts in time.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

/// Returns a seed from the system's random number generator. Without one it is 0, and processes are not spread in
/// time.
pub(crate) fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random duration from zero up to, but not including, `max`. Zero if `max` is zero.
    pub(crate) fn uniform_below(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        let random = self.next();
        Duration::from_nanos(random.checked_rem(nanos).unwrap_or_default())
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

    /// The first numbers of SplitMix64, as its authors publish them.
    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut jitter = Jitter::seeded(0);
        let first = [jitter.next(), jitter.next(), jitter.next()];
        assert_eq!(first, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
    }

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
