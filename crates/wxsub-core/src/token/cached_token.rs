use std::time::Duration;

use sha2::{Digest, Sha256};
use wxsub_proto::AccessToken;
use wxsub_proto::endpoint::token::MAX_LIFETIME;

use crate::clock::{ClockReading, MAX_CLOCK_SKEW, UnixMillis};

/// Largest error of the difference between two ages: two seconds for each clock, and the response time of a store.
const MAX_AGE_ERROR: Duration = Duration::from_secs(5);

/// A token with its times.
///
/// Its lifetime counts from the request, on two clocks, and is at most [`MAX_LIFETIME`].
#[derive(Debug, Clone, getset::CopyGetters)]
#[getset(get_copy = "pub")]
pub struct CachedToken {
    #[getset(skip)]
    token: AccessToken,
    /// The generation.
    generation: Generation,
    /// When the token was requested, as recorded. The value is wrong if the [age is unknown](Self::has_known_age).
    requested_at: UnixMillis,
    /// The time from request to expiry.
    lifetime: Duration,
    /// When the token expires.
    expires_at: ClockReading,
    /// Whether the time of the request is known. A token of unknown age is served with a ttl of at most 60 s, and
    /// refreshed at once.
    has_known_age: bool,
}

impl CachedToken {
    /// Creates a token that was requested at `requested_at` and is valid for `lifetime` from then.
    pub fn new(
        token: AccessToken,
        generation: Generation,
        requested_at: ClockReading,
        lifetime: Duration,
    ) -> Self {
        let lifetime = lifetime.min(MAX_LIFETIME);
        Self {
            token,
            generation,
            requested_at: requested_at.wall,
            lifetime,
            expires_at: requested_at + lifetime,
            has_known_age: true,
        }
    }

    /// Creates a token that a peer requested. Its times are known on the wall clock only.
    ///
    /// If `requested_at` is more than 60 s in the future, a clock was wrong and the age is unknown. The token then
    /// expires one lifetime after `now`.
    pub fn from_shared_store(
        token: AccessToken,
        generation: Generation,
        requested_at: UnixMillis,
        lifetime: Duration,
        now: ClockReading,
    ) -> Self {
        let lifetime = lifetime.min(MAX_LIFETIME);
        let remaining = lifetime.saturating_sub(now.wall.since(requested_at));
        let has_known_age = requested_at.since(now.wall) <= MAX_CLOCK_SKEW;
        Self { token, generation, requested_at, lifetime, expires_at: now + remaining, has_known_age }
    }

    /// Returns the same token with another generation.
    pub(crate) fn with_generation(&self, generation: Generation) -> Self {
        Self { generation, ..self.clone() }
    }

    /// Returns the token itself.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// Returns whether this valid token was certainly requested after another one, by age. Generations do not show that:
    /// they come from the clocks of several servers. A token of unknown age proves nothing.
    pub(crate) fn was_requested_after(&self, other: &Self, now: ClockReading) -> bool {
        let age = |token: &Self| token.lifetime.saturating_sub(token.remaining(now));
        self.is_valid(now)
            && self.has_known_age
            && other.has_known_age
            && !self.token.ct_eq(&other.token)
            && age(self) + MAX_AGE_ERROR < age(other)
    }

    /// Returns the time until expiry on the clock that reaches it first. Zero for an expired token.
    pub fn remaining(&self, now: ClockReading) -> Duration {
        self.expires_at.remaining(now)
    }

    /// Returns whether the token has not expired yet.
    #[inline]
    pub fn is_valid(&self, now: ClockReading) -> bool {
        !self.expires_at.is_past(now)
    }

    /// Returns a short digest, for logs.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.token)
    }
}

/// A short digest of a token. It identifies the token in logs and reveals nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Display, derive_more::Debug)]
#[display("{:x}", base16ct::HexDisplay(_0))]
#[debug("{self}")]
pub struct Fingerprint([u8; 6]);

impl Fingerprint {
    /// Computes the digest of this token.
    pub fn of(token: &AccessToken) -> Self {
        Self(Sha256::digest(token.expose_secret()).first_chunk().copied().unwrap_or_default())
    }
}

/// The number of a token of one app. It only grows.
///
/// It is the time of the request in milliseconds since 1970, or the last generation plus one if that is larger. So
/// it grows even if a store is lost or replaced.
///
/// It is at most 2^52 ([`MAX`](Self::MAX)), which is the year 144683. Redis scripts and JSON use doubles, which are
/// exact up to 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, derive_more::Display)]
pub struct Generation(u64);

impl Generation {
    /// The largest generation.
    pub const MAX: Self = Self(1 << 52);

    /// Creates a generation from a stored number. Zero means "no token yet". A number above [`MAX`](Self::MAX)
    /// becomes zero.
    pub fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self(0) } else { Self(number) }
    }

    /// Returns the number.
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
