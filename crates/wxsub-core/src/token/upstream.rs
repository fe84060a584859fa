use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use wxsub_proto::{AccessToken, AppId, LocalizedText};

use super::{Generation, RefreshMode, TokenErrorKind};

/// Where a [`TokenCache`](super::TokenCache) fetches the tokens of one app: Weixin, a control server, or your own
/// token service.
#[async_trait]
#[auto_impl(Arc)]
pub trait TokenUpstream: Send + Sync + fmt::Debug {
    /// Returns the app.
    fn appid(&self) -> &AppId;

    /// Returns what the token cache must know of a fetch. It is always the same.
    fn behavior(&self) -> UpstreamBehavior;

    /// Fetches a token once.
    ///
    /// # Errors
    /// The cause decides when the next attempt starts. If
    /// [`may_have_taken_effect`](TokenErrorKind::may_have_taken_effect) is true for it, and a fetch [invalidates the
    /// previous token](UpstreamBehavior::invalidates_previous), the current token becomes in doubt. It must not
    /// contain a secret.
    ///
    /// # Cancel safety
    /// The token cache drops the future when the attempt times out. The fetch may have taken effect then.
    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind>;

    /// Called after a fetch timed out and was dropped.
    fn on_timeout(&self) {}
}

/// What a token cache must know of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamBehavior {
    /// What errors call the upstream, such as `the token service`.
    pub name: LocalizedText,
    /// Whether a fetch issues a new token and invalidates the previous one. Otherwise a fetch returns the same token
    /// until some minutes before its expiry.
    pub invalidates_previous: bool,
    /// Whether peers must coordinate their fetches with a lease, and share the token in a store. Otherwise the
    /// upstream itself gives all its clients the same token.
    pub needs_store: bool,
    /// Whether [`RefreshMode::Forced`] replaces a token that was rejected and is returned again.
    pub has_forced_refresh: bool,
    /// Average interval of fetches that the quota of the upstream allows.
    pub fetch_interval: Duration,
    /// How often a valid token is fetched again, because the upstream may replace it before its expiry. `None` if it
    /// does not. Without effect if a fetch invalidates the previous token: then only fetches replace it.
    pub poll_interval: Option<Duration>,
}

impl UpstreamBehavior {
    /// Returns the behavior of a service that keeps the token for all its clients: a fetch invalidates nothing and
    /// needs no store, and a forced refresh does not exist.
    pub fn token_service() -> Self {
        Self {
            name: LocalizedText::new("the token service", "token 服务"),
            invalidates_previous: false,
            needs_store: false,
            has_forced_refresh: false,
            fetch_interval: Duration::from_secs(10),
            poll_interval: None,
        }
    }

    /// Sets what errors call the upstream, with its article.
    #[must_use]
    pub fn named(self, name: LocalizedText) -> Self {
        Self { name, ..self }
    }

    /// Fetches a valid token again at this interval, ± 10 %, because the upstream may replace it before its expiry.
    /// Choose less than the five minutes for which Weixin accepts a token that was replaced.
    #[must_use]
    pub fn polled(self, interval: Duration) -> Self {
        Self { poll_interval: Some(interval), ..self }
    }
}

/// One fetch.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct UpstreamRequest<'a> {
    /// Whether to force a refresh.
    pub mode: RefreshMode,
    /// The newest known token, if Weixin rejected it. An upstream that keeps the token for others reports it.
    pub rejected: Option<&'a AccessToken>,
}

/// A token as an upstream returned it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchedToken {
    /// The token.
    pub token: AccessToken,
    /// The time from request to expiry.
    pub lifetime: Duration,
    /// The generation, if an upstream [without store](UpstreamBehavior::needs_store) numbers its tokens.
    pub generation: Option<Generation>,
}

impl FetchedToken {
    /// Creates a token that the token cache numbers.
    pub fn new(token: AccessToken, lifetime: Duration) -> Self {
        Self { token, lifetime, generation: None }
    }

    /// Sets the generation that the upstream gave the token.
    #[must_use]
    pub fn with_generation(self, generation: Generation) -> Self {
        Self { generation: Some(generation), ..self }
    }
}
