use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wxsub_proto::AccessToken;
use wxsub_proto::endpoint::token::MAX_LIFETIME;

use super::Generation;
use crate::clock::{ClockReading, MAX_CLOCK_SKEW, UnixMillis};

/// A token with its times. Its life counts from the moment it was *asked for*, on both clocks, and is at most
/// [`MAX_LIFETIME`].
#[derive(Debug, Clone)]
pub struct CachedToken {
    token: AccessToken,
    generation: Generation,
    asked: UnixMillis,
    life: Duration,
    ends: ClockReading,
    has_known_age: bool,
}

impl CachedToken {
    /// A token asked for at `asked` that lives for `life`.
    #[must_use]
    pub fn new(token: AccessToken, generation: Generation, asked: ClockReading, life: Duration) -> Self {
        let life = life.min(MAX_LIFETIME);
        Self { token, generation, asked: asked.wall, life, ends: asked.after(life), has_known_age: true }
    }

    /// A token that another process asked for, known by the wall clock only. If `asked` is more than 60 s in the future, a
    /// clock was wrong and the age is unknown. The token then ends after one whole life from now at the latest.
    #[must_use]
    pub fn from_shared_store(
        token: AccessToken,
        generation: Generation,
        asked: UnixMillis,
        life: Duration,
        now: ClockReading,
    ) -> Self {
        let life = life.min(MAX_LIFETIME);
        let left = life.saturating_sub(now.wall.since(asked));
        let has_known_age = asked.since(now.wall) <= MAX_CLOCK_SKEW;
        Self { token, generation, asked, life, ends: now.after(left), has_known_age }
    }

    /// The same token under another number.
    pub(crate) fn with_generation(&self, generation: Generation) -> Self {
        Self { generation, ..self.clone() }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// Which token it is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// When it was asked for, as recorded. Means nothing unless its [age is known](Self::has_known_age).
    #[must_use]
    pub fn requested_at(&self) -> UnixMillis {
        self.asked
    }

    /// How long it lives from then.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.life
    }

    /// Whether it is known when it was asked for. A token of unknown age is served, handed out for 60 s at most, and
    /// refreshed at once.
    #[must_use]
    pub fn has_known_age(&self) -> bool {
        self.has_known_age
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> ClockReading {
        self.ends
    }

    /// What is left of its life; zero once it has ended on either clock.
    #[must_use]
    pub fn remaining(&self, now: ClockReading) -> Duration {
        self.ends.remaining(now)
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_valid(&self, now: ClockReading) -> bool {
        !self.ends.is_past(now)
    }

    /// A short digest that tells tokens apart in logs.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.token)
    }
}

/// A short digest of a token: tells tokens apart in logs and gives nothing away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 6]);

impl Fingerprint {
    /// Of this token.
    #[must_use]
    pub fn of(token: &AccessToken) -> Self {
        let mut short = [0; 6];
        let digest = Sha256::digest(token.expose_secret());
        short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
