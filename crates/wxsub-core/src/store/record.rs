use std::time::Duration;

use wxsub_proto::AccessToken;

use crate::clock::{ClockReading, UnixMillis};
use crate::token::{CachedToken, ForceRefreshLog, Generation};

/// What a store keeps for one app.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The newest token.
    pub token: Option<StoredToken>,
    /// Since when the token is in doubt, because a fetch may have taken effect although its response was lost.
    pub in_doubt_since: Option<UnixMillis>,
    /// The times of forced refreshes.
    pub forced: ForceRefreshLog,
}

impl TokenRecord {
    /// Returns the generation of the stored token. Zero if there is none.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.token.as_ref().map_or(Generation::default(), |stored| stored.generation)
    }
}

/// A token as it is stored, with times on the wall clock. A store keeps them unchanged;
/// [`to_cached`](Self::to_cached) checks them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredToken {
    /// The token.
    pub token: AccessToken,
    /// Its generation.
    pub generation: Generation,
    /// When it was requested.
    pub requested_at: UnixMillis,
    /// The time from request to expiry.
    pub lifetime: Duration,
}

impl StoredToken {
    /// Creates a stored token.
    #[must_use]
    pub fn new(
        token: AccessToken,
        generation: Generation,
        requested_at: UnixMillis,
        lifetime: Duration,
    ) -> Self {
        Self { token, generation, requested_at, lifetime }
    }

    /// Returns the token with checked times: its lifetime is at most two hours, and a token requested in the future
    /// has an [unknown age](CachedToken::has_known_age).
    #[must_use]
    pub fn to_cached(&self, now: ClockReading) -> CachedToken {
        CachedToken::from_shared_store(
            self.token.clone(),
            self.generation,
            self.requested_at,
            self.lifetime,
            now,
        )
    }
}

impl From<&CachedToken> for StoredToken {
    fn from(token: &CachedToken) -> Self {
        Self::new(token.token().clone(), token.generation(), token.requested_at(), token.lifetime())
    }
}
