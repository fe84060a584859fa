use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls};

use super::{Client, Inner};
use crate::clock::{Clock, SystemClock};
use crate::hosts::Hosts;
use crate::jitter;
use crate::retry::RetryBudget;
use crate::token::{TokenCache, TokenCacheBuilder, TokenSource};
use crate::transport::Transport;

/// The default of [`ClientBuilder::timeout`].
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds a [`Client`].
pub struct ClientBuilder {
    tokens: Tokens,
    transport: Arc<dyn Transport>,
    bases: BaseUrls,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    seed: Option<u64>,
}

enum Tokens {
    Cached(Box<TokenCacheBuilder>),
    From(Arc<dyn TokenSource>),
}

impl Client {
    /// Starts building a client with its own token cache.
    #[must_use]
    pub fn builder(appid: AppId, secret: AppSecret, transport: Arc<dyn Transport>) -> ClientBuilder {
        let cache = TokenCache::builder(appid, secret, Arc::clone(&transport));
        ClientBuilder::new(Tokens::Cached(Box::new(cache)), transport)
    }

    /// Starts building a client with this token source: a shared token cache, a static token, or your own.
    #[must_use]
    pub fn with_token_source(source: Arc<dyn TokenSource>, transport: Arc<dyn Transport>) -> ClientBuilder {
        ClientBuilder::new(Tokens::From(source), transport)
    }
}

impl ClientBuilder {
    fn new(tokens: Tokens, transport: Arc<dyn Transport>) -> Self {
        Self {
            tokens,
            transport,
            bases: BaseUrls::default(),
            clock: Arc::new(SystemClock::new()),
            timeout: DEFAULT_TIMEOUT,
            seed: None,
        }
    }

    /// Sets the base URL for messages and token fetches. Default: `https://api.weixin.qq.com`.
    #[must_use]
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Sets the base URLs in order of preference. Weixin documents [several hosts](BaseUrl::API).
    ///
    /// If a host gives no response of Weixin's, the client calls the next one. It tries the first host again after
    /// 5 min.
    ///
    /// A message goes to the next host only if it was certainly not sent, within the same deadline and retry
    /// budget. The token cache may also repeat a token call there with its next attempt.
    #[must_use]
    pub fn api_bases(mut self, bases: BaseUrls) -> Self {
        self.bases = bases;
        self
    }

    /// Sets the timeout of one send, with the time to get a token. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the seed of the jitter of retries, so that a run can be repeated. Default: random.
    #[must_use]
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the clock of the client and its token cache. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Configures the token cache: endpoint, store, observer, or another base URL or clock. Has no effect on a
    /// client with another token source.
    #[must_use]
    pub fn token_cache(mut self, set_up: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder) -> Self {
        self.tokens = match self.tokens {
            Tokens::Cached(cache) => Tokens::Cached(Box::new(set_up(*cache))),
            tokens @ Tokens::From(_) => tokens,
        };
        self
    }

    /// Builds the client. It fetches nothing and spawns nothing before its first use.
    #[must_use]
    pub fn build(self) -> Client {
        let Self { tokens, transport, bases, clock, timeout, seed } = self;
        let source: Arc<dyn TokenSource> = match tokens {
            Tokens::Cached(cache) => Arc::new(cache.inherit_defaults(&bases, &clock).build()),
            Tokens::From(source) => source,
        };
        let seed = AtomicU64::new(seed.unwrap_or_else(jitter::random_seed));
        Client {
            inner: Arc::new(Inner {
                source,
                transport,
                hosts: Hosts::new(bases),
                clock,
                timeout,
                budget: RetryBudget::new(),
                seed,
            }),
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bases, timeout, .. } = self;
        f.debug_struct("ClientBuilder").field("bases", bases).field("timeout", timeout).finish()
    }
}
