use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, watch};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls};

use super::TokenCache;
use super::fetch::{TokenFetcher, Upstream};
use super::refresh_task::RefreshTask;
use super::task::TaskSlot;
use crate::clock::{Clock, SystemClock};
use crate::hosts::Hosts;
use crate::jitter::random_seed;
use crate::store::{MemoryStore, TokenStore};
use crate::token::{ApiKey, Observer, RefreshState, TokenEndpoint, TokenEvent};
use crate::transport::Transport;

/// Maximum number of queued requests. More callers wait.
const REQUEST_QUEUE_CAPACITY: usize = 256;

/// Builds a [`TokenCache`].
pub struct TokenCacheBuilder {
    appid: AppId,
    upstream: Upstream,
    transport: Arc<dyn Transport>,
    bases: Option<BaseUrls>,
    endpoint: TokenEndpoint,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<dyn TokenStore>>,
    seed: Option<u64>,
    observer: Option<Observer>,
}

impl TokenCache {
    /// Starts building a token cache that fetches from Weixin.
    #[must_use]
    pub fn builder(appid: AppId, secret: AppSecret, transport: Arc<dyn Transport>) -> TokenCacheBuilder {
        TokenCacheBuilder::new(appid, Upstream::Weixin(secret), transport)
    }

    /// Starts building a token cache that gets its tokens from a control server (`wxsub serve`) at this base URL.
    ///
    /// It needs no AppSecret. It serves a token for the ttl that the server gave, and requests the next one ahead
    /// of time. It reports a token that Weixin rejected. It survives a restart of the server.
    ///
    /// [`endpoint`](TokenCacheBuilder::endpoint) and [`store`](TokenCacheBuilder::store) have no effect here,
    /// because the server decides both.
    #[must_use]
    pub fn from_control_server(
        appid: AppId,
        key: ApiKey,
        base: BaseUrl,
        transport: Arc<dyn Transport>,
    ) -> TokenCacheBuilder {
        TokenCacheBuilder::new(appid, Upstream::ControlServer(key), transport).api_base(base)
    }
}

impl TokenCacheBuilder {
    fn new(appid: AppId, upstream: Upstream, transport: Arc<dyn Transport>) -> Self {
        Self {
            appid,
            upstream,
            transport,
            bases: None,
            endpoint: TokenEndpoint::default(),
            clock: None,
            store: None,
            seed: None,
            observer: None,
        }
    }

    /// Sets the base URL. Default: `https://api.weixin.qq.com`.
    #[must_use]
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Sets the base URLs in order of preference.
    ///
    /// If a host cannot be reached, the same attempt tries the next one. If a host gives no response of Weixin's,
    /// or errcode −1, the next attempt goes to the next host. The response may be lost then, and the rules for lost
    /// responses apply. The first host is tried again after 5 min.
    #[must_use]
    pub fn api_bases(mut self, bases: BaseUrls) -> Self {
        self.bases = Some(bases);
        self
    }

    /// Sets the endpoint that issues the tokens.
    #[must_use]
    pub fn endpoint(mut self, endpoint: TokenEndpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Takes the hosts and the clock of a client, unless they are set.
    pub(crate) fn inherit_defaults(mut self, bases: &BaseUrls, clock: &Arc<dyn Clock>) -> Self {
        self.bases.get_or_insert_with(|| bases.clone());
        self.clock.get_or_insert_with(|| Arc::clone(clock));
        self
    }

    /// Shares the token with the peers that use this store. The cache reads the store every 2 s, and at once after
    /// a [notification](TokenStore::wait_for_change). Default: a store in memory.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the seed of the jitter, so that a run can be repeated. Default: random.
    #[must_use]
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets a function that receives all events. It runs in the refresh task, so it must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&TokenEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Builds the cache. It fetches nothing yet.
    #[must_use]
    pub fn build(self) -> TokenCache {
        let (requests, request_receiver) = mpsc::channel(REQUEST_QUEUE_CAPACITY);
        let endpoint = match self.upstream {
            Upstream::Weixin(_) => self.endpoint,
            // A request to a control server is like one to `stable_token`: it invalidates nothing and may return
            // the same token.
            Upstream::ControlServer(_) => TokenEndpoint::StableToken,
        };
        let state = RefreshState::new(endpoint, self.seed.unwrap_or_else(random_seed));
        let (status_sender, status) = watch::channel(state.status());
        let current = Arc::new(ArcSwapOption::empty());
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let is_shared = self.store.is_some();
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::with_clock(Arc::clone(&clock))));
        let appid = self.appid.clone();
        let fetcher = TokenFetcher {
            hosts: Hosts::new(self.bases.unwrap_or_default()),
            endpoint,
            holder: format!("{:016x}", random_seed()),
            appid: self.appid,
            upstream: self.upstream,
            transport: self.transport,
            store,
            clock: Arc::clone(&clock),
        };
        let task = RefreshTask::new(
            state,
            Arc::new(fetcher),
            is_shared,
            request_receiver,
            status_sender,
            Arc::clone(&current),
            self.observer,
        );
        TokenCache { appid, requests, status, current, task_slot: Arc::new(TaskSlot::new(task)), clock }
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appid, bases, endpoint, .. } = self;
        f.debug_struct("TokenCacheBuilder")
            .field("appid", appid)
            .field("bases", bases)
            .field("endpoint", endpoint)
            .finish()
    }
}
