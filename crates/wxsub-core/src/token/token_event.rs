use std::sync::Arc;
use std::time::Duration;

use super::{Fingerprint, Generation, TokenErrorKind};

/// A function that receives all events of a token cache.
pub(crate) type Observer = Arc<dyn Fn(&TokenEvent) + Send + Sync>;

/// Where a token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth origin")]
pub enum TokenOrigin {
    /// Fetched by this process.
    Fetched,
    /// Fetched by a peer and read from the store.
    Adopted,
    /// Fetched by this process while the store was unavailable.
    FetchedWithoutLease,
}

/// An event of a token cache, for logs and metrics. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEvent {
    /// There is a new current token.
    Refreshed {
        /// Its generation.
        generation: Generation,
        /// A digest of the token.
        fingerprint: Fingerprint,
        /// Its lifetime from the request.
        lifetime: Duration,
        /// Where it came from.
        origin: TokenOrigin,
    },
    /// An attempt failed. Another one follows.
    FetchFailed {
        /// The cause.
        failure: TokenErrorKind,
        /// Delay until the next attempt.
        retry_in: Duration,
        /// Time until the current token expires. Zero if there is none.
        remaining: Duration,
        /// Whether callers do not see this failure, because the attempt is repeated at once.
        silent: bool,
    },
    /// The store became unavailable. Attempts are postponed, so that peers do not invalidate each other's tokens.
    StoreUnavailable,
    /// The store is available again.
    StoreRecovered,
    /// The response to a fetch was lost. Weixin may have issued a token, so the current one is in doubt.
    FetchResponseLost {
        /// The generation of the current token.
        generation: Generation,
    },
    /// Weixin rejected the current token.
    Rejected {
        /// Its generation.
        generation: Generation,
        /// Time until its expiry.
        remaining: Duration,
    },
    /// The current token was invalidated long before expiry, and no attempt of ours explains it. Another program
    /// fetches tokens for this app.
    InvalidatedExternally {
        /// Its generation.
        generation: Generation,
        /// Time until its expiry.
        remaining: Duration,
    },
}
