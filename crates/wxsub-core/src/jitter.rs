//! Randomness for schedules: seeded, so that a simulation can be replayed. Not for secrets.

use std::time::Duration;

/// A small generator (SplitMix64) that spreads attempts in time.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

/// From the system; without one, processes merely keep the same pace.
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

    /// Something from zero up to, but not including, `most` (zero if `most` is zero).
    pub(crate) fn below(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let random = self.next();
        Duration::from_nanos(random.checked_rem(nanos).unwrap_or_default())
    }

    /// `middle`, give or take at most `percent` of it.
    pub(crate) fn around(&mut self, middle: Duration, percent: u32) -> Duration {
        let spread = middle / 100 * percent;
        middle.saturating_sub(spread) + self.below(spread * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn it_stays_within_its_bounds(seed: u64, millis in 0_u64..10_000_000, percent in 0_u32..100) {
            let (mut jitter, middle) = (Jitter::seeded(seed), Duration::from_millis(millis));
            let around = jitter.around(middle, percent);
            assert!(around >= middle / 100 * (100 - percent) && around <= middle / 100 * (100 + percent) + Duration::from_micros(1));
            assert!(middle.is_zero() || jitter.below(middle) < middle);
        }
    }
}
