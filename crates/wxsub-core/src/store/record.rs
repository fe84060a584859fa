use std::time::Duration;

use wxsub_proto::AccessToken;

use crate::clock::{ClockReading, UnixMillis};
use crate::token::{CachedToken, ForceRefreshLog, Generation};

/// What a store keeps of one app.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The newest token.
    pub token: Option<StoredToken>,
    /// Since when a fetch may have been carried out though its reply was lost.
    pub in_doubt_since: Option<UnixMillis>,
    /// When `force_refresh` was used.
    pub forced: ForceRefreshLog,
}

impl TokenRecord {
    /// The generation of the stored token; the zeroth if there is none.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.token.as_ref().map_or(Generation::default(), |stored| stored.generation)
    }
}

/// A token as it is stored: its times are of the wall clock, the only one that processes share. A store keeps them as they
/// are; [`to_issued`](Self::to_issued) decides what is believed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredToken {
    /// The token.
    pub token: AccessToken,
    /// Which token it is.
    pub generation: Generation,
    /// When it was asked for.
    pub requested_at: UnixMillis,
    /// How long it lives from then.
    pub lifetime: Duration,
}

impl StoredToken {
    /// A token with its times.
    #[must_use]
    pub fn new(
        token: AccessToken,
        generation: Generation,
        requested_at: UnixMillis,
        lifetime: Duration,
    ) -> Self {
        Self { token, generation, requested_at, lifetime }
    }

    /// As it is handed out. This is the one place where bounds apply to a record: a life is two hours at most, and a token
    /// asked for in the future is of [unknown age](CachedToken::has_known_age).
    #[must_use]
    pub fn to_issued(&self, now: ClockReading) -> CachedToken {
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
    fn from(issued: &CachedToken) -> Self {
        Self::new(issued.token().clone(), issued.generation(), issued.requested_at(), issued.lifetime())
    }
}
