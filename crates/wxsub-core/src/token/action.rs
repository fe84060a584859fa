use std::sync::Arc;
use std::time::Duration;

use super::{CachedToken, Generation, TokenError, TokenEvent};

/// What the lifecycle wants done.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete output alphabet of the state machine")]
pub enum Action {
    /// Get a token, and tell with [`Event::FetchFinished`](super::Event::FetchFinished).
    Fetch(FetchRequest),
    /// The answer to [`Event::InvalidTokenReported`](super::Event::InvalidTokenReported).
    ResolveReport(ReportOutcome),
    /// Something an operator wants to know.
    Emit(TokenEvent),
}

/// An attempt to get a token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Its number.
    pub attempt: u64,
    /// How to ask.
    pub mode: RefreshMode,
    /// What the store must be ahead of to make the call unnecessary: the newest generation known.
    pub known: Generation,
    /// How long it may take.
    pub timeout: Duration,
    /// How long the right to refresh is taken for. It outlives the attempt.
    pub lease: Duration,
    /// Whether to fetch even though the store does not answer.
    pub allow_without_lease: bool,
    /// The token Weixin rejected, which must not be adopted again.
    pub rejected: Option<Arc<CachedToken>>,
}

/// How to ask for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "Weixin documents these two")]
pub enum RefreshMode {
    /// As usual.
    Normal,
    /// With `force_refresh`, if the store's ration of forced refreshes allows it.
    Forced,
}

/// What becomes of a report.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "every reporter must handle each")]
pub enum ReportOutcome {
    /// There is a newer token already.
    AlreadyRefreshed(Arc<CachedToken>),
    /// An attempt is under way; its result is the answer: a newer token, or the first failure announced after this many.
    Pending {
        /// The token to wait for is newer than this: the one reported, or the newest known.
        newer_than: Generation,
        /// [`TokenStatus::announced`](super::TokenStatus::announced) at the time of the report.
        announced: u64,
    },
    /// No refresh for this report.
    Rejected(TokenError),
}
