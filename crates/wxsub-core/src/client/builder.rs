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

/// How long one send may take, token included, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Puts a [`Client`] together.
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
    /// A client with a keeper of its own.
    #[must_use]
    pub fn builder(appid: AppId, secret: AppSecret, transport: Arc<dyn Transport>) -> ClientBuilder {
        let keeper = TokenCache::builder(appid, secret, Arc::clone(&transport));
        ClientBuilder::new(Tokens::Cached(Box::new(keeper)), transport)
    }

    /// A client whose tokens somebody else keeps: a keeper you share, a fixed token, a control server.
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
            timeout: TIMEOUT,
            seed: None,
        }
    }

    /// Calls this instead of `https://api.weixin.qq.com`, for messages and for the keeper's tokens.
    #[must_use]
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Calls these hosts, the first one as long as it works. A host that gives no answer of Weixin's is left for the next one,
    /// and the first is tried again after 5 min. A message goes to the next host only if it was certainly not sent, within the
    /// same deadline and retry budget; a token call may also be repeated there by the keeper's next attempt. Weixin documents
    /// [several hosts](BaseUrl::API).
    #[must_use]
    pub fn api_bases(mut self, bases: BaseUrls) -> Self {
        self.bases = bases;
        self
    }

    /// How long one send may take, token included. 30 s unless told otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Spreads its attempts to connect in time from this seed, so that a run can be repeated.
    #[must_use]
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Lives on this clock, as does its keeper.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets up the keeper: endpoint, store, observer; also another base or clock than the client's. Does nothing for a client whose tokens somebody else keeps.
    #[must_use]
    pub fn token_cache(mut self, set_up: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder) -> Self {
        self.tokens = match self.tokens {
            Tokens::Cached(keeper) => Tokens::Cached(Box::new(set_up(*keeper))),
            tokens @ Tokens::From(_) => tokens,
        };
        self
    }

    /// The client. Nothing is fetched and nothing is spawned before its first use.
    #[must_use]
    pub fn build(self) -> Client {
        let Self { tokens, transport, bases, clock, timeout, seed } = self;
        let source: Arc<dyn TokenSource> = match tokens {
            Tokens::Cached(keeper) => Arc::new(keeper.inherit_defaults(&bases, &clock).build()),
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
