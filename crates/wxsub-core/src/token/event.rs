use std::sync::Arc;

use super::{CachedToken, Generation, TokenErrorKind};
use crate::clock::UnixMillis;

/// An input of the refresh state.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum Event {
    /// Time has passed. An early timer is harmless.
    Timer,
    /// A caller needs a token and sees none.
    TokenRequested,
    /// A caller reports that a token no longer works.
    InvalidTokenReported {
        /// The generation of that token.
        generation: Generation,
        /// How the caller knows.
        evidence: Evidence,
    },
    /// An attempt has ended.
    FetchFinished {
        /// The number of the attempt, from its [`FetchRequest`](super::FetchRequest).
        attempt: u64,
        /// Its outcome.
        outcome: FetchOutcome,
    },
    /// The store has this token. A peer may have fetched it.
    StoreLoaded {
        /// The token.
        token: Arc<CachedToken>,
        /// Since when it is in doubt, as in [`FetchOutcome::Adopted`].
        in_doubt_since: Option<UnixMillis>,
    },
    /// The store was behind, and has the current token now.
    StorePublished {
        /// The generation of the current token.
        generation: Generation,
        /// The generation that was stored before.
        replaced: Generation,
    },
}

/// How a caller knows that a token no longer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third kind of evidence")]
pub enum Evidence {
    /// Weixin rejected it in our own call with 40001, 40014 or 42001. The token is not served again.
    Observed,
    /// A client reports it. A rate-limited refresh starts, and the token is served until there is a new one.
    Reported,
}

/// The outcome of an attempt to get a token.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum FetchOutcome {
    /// Weixin issued this token.
    Issued(Arc<CachedToken>),
    /// Weixin issued this token while the store was unavailable. Peers may have fetched at the same time.
    IssuedWithoutLease(Arc<CachedToken>),
    /// The store has a newer token.
    Adopted {
        /// The token.
        token: Arc<CachedToken>,
        /// Since when the token is in doubt. An attempt of any process since then may have taken effect although
        /// its response was lost.
        in_doubt_since: Option<UnixMillis>,
        /// Whether Weixin also issued a token to this process, which was stored too late. It is unknown which of
        /// the two works.
        lost_race: bool,
    },
    /// A peer has the lease and fetches.
    LeaseHeldByPeer,
    /// The store is unavailable, and the request does not allow a fetch without lease.
    StoreUnavailable,
    /// The attempt failed.
    Failed(TokenErrorKind),
}
