use std::sync::Arc;
use std::time::Duration;

use super::{Fingerprint, Generation, TokenErrorKind};

/// Who is told.
pub(crate) type Observer = Arc<dyn Fn(&TokenEvent) + Send + Sync>;

/// How a token was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum TokenOrigin {
    /// Fetched here.
    Fetched,
    /// Fetched by another process and found in the store.
    Adopted,
    /// Fetched here while the store did not answer.
    FetchedWithoutLease,
}

/// Something an operator wants to know. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEvent {
    /// A new token is held.
    Refreshed {
        /// Which.
        generation: Generation,
        /// Its digest.
        fingerprint: Fingerprint,
        /// How long it lives.
        life: Duration,
        /// How it was obtained.
        obtained: TokenOrigin,
    },
    /// An attempt failed; another follows.
    FetchFailed {
        /// Why.
        failure: TokenErrorKind,
        /// When the next one follows.
        retry_in: Duration,
        /// What is left of the token still served; zero if there is none.
        remaining: Duration,
        /// Whether it passes in silence: it is tried again at once, and no caller has been told.
        silent: bool,
    },
    /// The store does not answer: attempts are put off, so that the processes that share it do not end each other's tokens.
    StoreUnavailable,
    /// The store answers again.
    StoreRecovered,
    /// The reply to an attempt was lost, though Weixin may have issued a token: the one held may die before its time.
    FetchResponseLost {
        /// The token held.
        generation: Generation,
    },
    /// Weixin rejected the token held.
    Rejected {
        /// Which.
        generation: Generation,
        /// What was left of its life.
        remaining: Duration,
    },
    /// The token died long before its time and nothing of our own explains it: somebody else fetches tokens for this app.
    InvalidatedExternally {
        /// Which.
        generation: Generation,
        /// What was left of its life.
        remaining: Duration,
    },
}
