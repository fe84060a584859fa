use std::fmt;

use crate::clock::UnixMillis;

/// Which token it is: a number that only grows, within one app. It is the time the token was asked for in milliseconds,
/// or one more than the last where that is larger; so it grows even if a store is lost or changed.
///
/// It is at most 2^52 ([`MAX`](Self::MAX)), so that every store can hold it: doubles, as in Redis scripts and JSON, are exact
/// up to 2^53. As milliseconds since 1970 that is the year 144683. A larger number in a record is no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

impl Generation {
    /// The largest generation.
    pub const MAX: Self = Self(1 << 52);

    /// A generation read from a record; zero stands for "none yet", and so does a number above [`MAX`](Self::MAX).
    #[must_use]
    pub fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self(0) } else { Self(number) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The one after this, for a token asked for at `asked`. A time above [`MAX`](Self::MAX) does not count.
    #[must_use]
    pub fn next(self, asked: UnixMillis) -> Self {
        Self(self.0 + 1).max(Self::new(asked.get())).min(Self::MAX)
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
    fn it_grows_even_when_the_clock_goes_back() {
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
