use std::fmt;

use crate::clock::UnixMillis;

/// Which token it is: a number that only grows, within one app. It is the time the token was asked for in milliseconds,
/// or one more than the last where that is larger; so it grows even if a store is lost or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

impl Generation {
    /// A generation read from a record; zero stands for "none yet".
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The one after this, for a token asked for at `asked`.
    #[must_use]
    pub fn next(self, asked: UnixMillis) -> Self {
        Self(self.0.saturating_add(1).max(asked.get()))
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
}
