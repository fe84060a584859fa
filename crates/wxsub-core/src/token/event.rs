use std::sync::Arc;

use super::{CachedToken, Generation, TokenErrorKind};
use crate::clock::UnixMillis;

/// What the lifecycle is told.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum Event {
    /// Time has passed; spurious ones are harmless.
    Timer,
    /// Somebody needs a token and sees none.
    TokenRequested,
    /// Somebody says that a token no longer works.
    InvalidTokenReported {
        /// Which token.
        generation: Generation,
        /// How they know.
        evidence: Evidence,
    },
    /// The attempt of this number has come to its end.
    FetchFinished {
        /// The number from the [`FetchRequest`](super::FetchRequest).
        attempt: u64,
        /// What came of it.
        outcome: FetchOutcome,
    },
    /// The store holds this token; another process may have fetched it.
    StoreLoaded {
        /// The token.
        issued: Arc<CachedToken>,
        /// Since when it may be dying, as in [`FetchOutcome::Adopted`].
        lost_since: Option<UnixMillis>,
    },
    /// The store had fallen behind, and has been given the token held.
    StorePublished {
        /// Which.
        generation: Generation,
        /// What it held until then.
        replaced: Generation,
    },
}

/// How somebody knows that a token no longer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third kind of evidence")]
pub enum Evidence {
    /// Weixin answered a call of our own with 40001, 40014 or 42001. The token is not handed out again.
    Observed,
    /// Somebody else says so. A rationed refresh starts; everybody keeps the token until its replacement is held.
    Reported,
}

/// What came of an attempt to get a token.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum FetchOutcome {
    /// Weixin issued this token to us.
    Issued(Arc<CachedToken>),
    /// Weixin issued this token to us while the store did not answer: others may have fetched at the same time.
    IssuedWithoutLease(Arc<CachedToken>),
    /// The store held a newer one.
    Adopted {
        /// The token.
        issued: Arc<CachedToken>,
        /// Since when it may be dying: an attempt since then, by whomever, may have been applied though its reply was lost.
        lost_since: Option<UnixMillis>,
        /// Whether Weixin had issued one to us too, which came too late. Nobody knows which of the two works.
        lost_race: bool,
    },
    /// Somebody else holds the lease and is fetching.
    LeaseHeldByPeer,
    /// The store does not answer, and the order does not allow to fetch alone.
    StoreUnavailable,
    /// No token.
    Failed(TokenErrorKind),
}
