//! What goes into the refresh state, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use super::{CachedToken, Fingerprint, Generation, TokenError, TokenErrorKind};
use crate::clock::UnixMillis;
use crate::store::StoreError;

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
        /// The number of the attempt, from its [`FetchRequest`].
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
        /// Set if the token is from the other endpoint. It is valid.
        other_endpoint: Option<StoreError>,
    },
    /// The store was read, and has no token.
    StoreEmpty,
    /// The store was read. The record is broken, and the next lease holder replaces it.
    RecordBroken(StoreError),
    /// The store could not be read.
    StoreReadFailed(StoreError),
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
    /// The upstream issued this token.
    Issued(Arc<CachedToken>),
    /// The upstream issued this token while the store failed. Peers may have fetched at the same time.
    IssuedWithoutLease(Arc<CachedToken>, StoreError),
    /// The store has a newer token.
    Adopted {
        /// The token.
        token: Arc<CachedToken>,
        /// Since when the token is in doubt. An attempt of any process since then may have taken effect although
        /// its response was lost.
        in_doubt_since: Option<UnixMillis>,
        /// Whether the upstream also issued a token to this process, which was stored too late. It is unknown which of
        /// the two works.
        lost_race: bool,
    },
    /// A peer has the lease and fetches.
    LeaseHeldByPeer {
        /// The name of the peer. `None` if this process lost the lease because it was too slow.
        holder: Option<String>,
    },
    /// The store failed, and the request does not allow a fetch without lease.
    StoreUnavailable(StoreError),
    /// The attempt failed.
    Failed(TokenErrorKind),
}

/// What the caller of the refresh state must do.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete output alphabet of the state machine")]
pub enum Action {
    /// Start an attempt, and report its end with [`Event::FetchFinished`].
    Fetch(FetchRequest),
    /// Give the outcome of [`Event::InvalidTokenReported`] to its sender.
    ResolveReport(ReportOutcome),
    /// Pass an event to logs and observers.
    Emit(TokenEvent),
}

/// An attempt to get a token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchRequest {
    /// The number of the attempt.
    pub attempt: u64,
    /// Whether to force a refresh.
    pub mode: RefreshMode,
    /// The highest known generation. A newer stored token makes the fetch unnecessary.
    pub known: Generation,
    /// The current token, if it was fetched without lease and the store does not know it. A stored token that was
    /// requested earlier does not make the fetch unnecessary.
    pub unleased: Option<Arc<CachedToken>>,
    /// Timeout of the attempt.
    pub timeout: Duration,
    /// Length of the lease. Its holder renews it while the attempt runs.
    pub lease: Duration,
    /// Length of the lease that is kept after a failure which peers would share.
    pub backoff_lease: Duration,
    /// Whether to fetch even if the store is unavailable.
    pub allow_without_lease: bool,
    /// The token that Weixin rejected. It must not be adopted again.
    pub rejected: Option<Arc<CachedToken>>,
}

/// How to request a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "Weixin documents these two")]
pub enum RefreshMode {
    /// Without `force_refresh`.
    Normal,
    /// With `force_refresh`, if the [rate limit](super::ForceRefreshLog) in the store allows it.
    Forced,
}

/// The outcome of a report.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "every caller must handle each")]
pub enum ReportOutcome {
    /// There is already a newer token.
    AlreadyRefreshed(Arc<CachedToken>),
    /// An attempt is running. Its result counts: a newer token, or the first failure after `failure_seq`.
    Pending {
        /// The result is a token of a higher generation than this.
        after_generation: Generation,
        /// The value of [`TokenStatus::failure_seq`](super::TokenStatus::failure_seq) at the time of the report.
        failure_seq: u64,
    },
    /// The report starts no refresh.
    Rejected(TokenError),
}

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
    /// An attempt gave the current token again.
    Unchanged {
        /// Its generation.
        generation: Generation,
        /// Time until its expiry.
        remaining: Duration,
        /// Whether an attempt before it failed, and callers could see that.
        has_failed: bool,
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
    /// The store failed, or fails for another reason now. Attempts are postponed, so that peers do not invalidate
    /// each other's tokens.
    StoreUnavailable {
        /// The cause.
        error: StoreError,
    },
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
