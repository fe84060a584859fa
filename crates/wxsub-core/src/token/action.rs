use std::sync::Arc;
use std::time::Duration;

use super::{CachedToken, Generation, TokenError, TokenEvent};

/// What the caller of the refresh state must do.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete output alphabet of the state machine")]
pub enum Action {
    /// Start an attempt, and report its end with [`Event::FetchFinished`](super::Event::FetchFinished).
    Fetch(FetchRequest),
    /// Give the outcome of [`Event::InvalidTokenReported`](super::Event::InvalidTokenReported) to its sender.
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
    /// Timeout of the attempt.
    pub timeout: Duration,
    /// Length of the lease. It is longer than the attempt.
    pub lease: Duration,
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
