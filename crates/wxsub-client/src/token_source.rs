use std::sync::Arc;

use async_trait::async_trait;
use wxsub_core::token::{
    CachedToken, CurrentToken, Evidence, FetchedToken, Generation, TokenCache, TokenCacheBuilder, TokenError,
    TokenErrorKind, TokenEvent, TokenSource, TokenUpstream, UpstreamBehavior, UpstreamRequest,
};
use wxsub_proto::AppId;

use crate::ControlServer;

/// A token cache that fetches from a control server.
///
/// It needs no AppSecret. It serves a token for the ttl that the server gave, and requests the next one ahead of time.
/// It reports a token that Weixin rejected. It survives a restart of the server. A clone is the same cache.
///
/// ```
/// # use wxsub_core::transport::{HttpRequest, TransportError};
/// # use wxsub_core::proto::codec::RawResponse;
/// use wxsub_client::{ApiKey, ControlServer, ControlServerTokenSource};
/// use wxsub_core::Client;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # async fn transport(_: HttpRequest) -> Result<RawResponse<bytes::Bytes>, TransportError> {
/// #     Ok(RawResponse::new(200, "{}".into()))
/// # }
/// # let key = "a".repeat(ApiKey::LENGTH);
/// let server = ControlServer::new("https://wxsub.internal".parse()?, ApiKey::new(key)?, transport);
/// let tokens = ControlServerTokenSource::new(server, "wx0123456789abcdef".parse()?);
/// let client = Client::with_token_source(tokens, transport).build();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ControlServerTokenSource(TokenCache);

impl ControlServerTokenSource {
    /// Creates the source of an app's token. It fetches nothing yet.
    #[must_use]
    pub fn new(server: ControlServer, appid: AppId) -> Self {
        Self::builder(server, appid).build()
    }

    /// Starts building the source of an app's token. It has the clock of the control server's client.
    #[must_use]
    pub fn builder(server: ControlServer, appid: AppId) -> ControlServerTokenSourceBuilder {
        let clock = Arc::clone(server.shared_clock());
        let upstream = ControlServerUpstream { server, appid };
        ControlServerTokenSourceBuilder(TokenCache::from_upstream(upstream).clock(clock))
    }

    /// Returns the token cache.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.0
    }
}

#[async_trait]
impl TokenSource for ControlServerTokenSource {
    fn appid(&self) -> Option<&AppId> {
        self.0.appid()
    }

    fn current(&self) -> CurrentToken {
        self.0.current()
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        self.0.token().await
    }

    async fn refresh(
        &self,
        generation: Generation,
        evidence: Evidence,
    ) -> Result<Arc<CachedToken>, TokenError> {
        self.0.refresh(generation, evidence).await
    }
}

/// Builds a [`ControlServerTokenSource`].
#[derive(Debug)]
pub struct ControlServerTokenSourceBuilder(TokenCacheBuilder<Arc<dyn TokenUpstream>>);

impl ControlServerTokenSourceBuilder {
    /// Sets the seed of the jitter, so that a run can be repeated. Default: random.
    #[must_use]
    pub fn jitter_seed(self, seed: u64) -> Self {
        Self(self.0.jitter_seed(seed))
    }

    /// Sets a function that receives all events. It runs in the refresh task, so it must not block.
    #[must_use]
    pub fn on_event(self, observer: impl Fn(&TokenEvent) + Send + Sync + 'static) -> Self {
        Self(self.0.on_event(observer))
    }

    /// Builds the source. It fetches nothing yet.
    #[must_use]
    pub fn build(self) -> ControlServerTokenSource {
        ControlServerTokenSource(self.0.build())
    }
}

/// A control server as the upstream of a token cache.
#[derive(Debug)]
struct ControlServerUpstream {
    server: ControlServer,
    appid: AppId,
}

#[async_trait]
impl TokenUpstream for ControlServerUpstream {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        UpstreamBehavior::token_service()
    }

    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let fetch = self.server.fetch_token(&self.appid, request.rejected);
        fetch.await.map_err(crate::ControlServerError::into_token_error)
    }
}
