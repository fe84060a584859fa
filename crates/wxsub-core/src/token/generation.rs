use std::fmt;

use crate::clock::UnixMillis;

/// The number of a token of one app. It only grows.
///
/// It is the time of the request in milliseconds since 1970, or the last generation plus one if that is larger. So
/// it grows even if a store is lost or replaced.
///
/// It is at most 2^52 ([`MAX`](Self::MAX)), which is the year 144683. Redis scripts and JSON use doubles, which are
/// exact up to 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

impl Generation {
    /// The largest generation.
    pub const MAX: Self = Self(1 << 52);

    /// Creates a generation from a stored number. Zero means "no token yet". A number above [`MAX`](Self::MAX)
    /// becomes zero.
    #[must_use]
    pub fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self(0) } else { Self(number) }
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the next generation, for a token requested at `requested_at`. A time above [`MAX`](Self::MAX) does
    /// not count.
    #[must_use]
    pub fn next(self, requested_at: UnixMillis) -> Self {
        Self(self.0 + 1).max(Self::new(requested_at.get())).min(Self::MAX)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_generation_grows_even_if_the_clock_goes_back() {
        let first = Generation::default().next(UnixMillis::new(1_000));
        assert_eq!(first.get(), 1_000);
        assert_eq!(first.next(UnixMillis::new(5)).get(), 1_001);
        assert_eq!(first.next(UnixMillis::new(2_000)).get(), 2_000);
    }

    #[test]
    fn number_beyond_the_bound_is_no_generation() {
        let (max, far) = (Generation::MAX.get(), UnixMillis::new(u64::MAX));
        assert_eq!(Generation::new(max), Generation::MAX);
        assert_eq!([max + 1, u64::MAX].map(Generation::new), [Generation::default(); 2]);
        assert_eq!(Generation::new(7).next(far).get(), 8);
        assert_eq!(Generation::MAX.next(far), Generation::MAX);
    }
}
