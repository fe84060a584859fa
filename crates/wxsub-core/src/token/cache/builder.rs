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

/// How many callers may be telling the task something at the same moment; more wait their turn.
const REQUEST_QUEUE_CAPACITY: usize = 256;

/// Puts a [`TokenCache`] together.
pub struct TokenCacheBuilder {
    appid: AppId,
    origin: Upstream,
    transport: Arc<dyn Transport>,
    bases: Option<BaseUrls>,
    endpoint: TokenEndpoint,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<dyn TokenStore>>,
    seed: Option<u64>,
    observer: Option<Observer>,
}

impl TokenCache {
    /// A keeper for this app, fetching over this transport.
    #[must_use]
    pub fn builder(appid: AppId, secret: AppSecret, transport: Arc<dyn Transport>) -> TokenCacheBuilder {
        TokenCacheBuilder::new(appid, Upstream::Weixin(secret), transport)
    }

    /// A keeper that gets its tokens from a control server (`wxsub serve`) at this base. It has no AppSecret, so it cannot
    /// refresh behind the server's back: it keeps what it was handed for as long as the server vouches for it, asks again
    /// ahead of that, names the token that Weixin has rejected, and rides out a restart of the server.
    /// [`endpoint`](TokenCacheBuilder::endpoint) and [`store`](TokenCacheBuilder::store) are the server's business and mean nothing
    /// here.
    #[must_use]
    pub fn of_server(
        appid: AppId,
        key: ApiKey,
        base: BaseUrl,
        transport: Arc<dyn Transport>,
    ) -> TokenCacheBuilder {
        TokenCacheBuilder::new(appid, Upstream::Server(key), transport).api_base(base)
    }
}

impl TokenCacheBuilder {
    fn new(appid: AppId, origin: Upstream, transport: Arc<dyn Transport>) -> Self {
        Self {
            appid,
            origin,
            transport,
            bases: None,
            endpoint: TokenEndpoint::default(),
            clock: None,
            store: None,
            seed: None,
            observer: None,
        }
    }

    /// Fetches from here instead of `https://api.weixin.qq.com`.
    #[must_use]
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Fetches from these hosts, the first one as long as it works. If it cannot be reached, the same attempt goes on to the
    /// next host. If it gives no answer of Weixin's, or −1, the next attempt goes there: the reply may be lost, and all rules
    /// for that apply. The first host is tried again after 5 min.
    #[must_use]
    pub fn api_bases(mut self, bases: BaseUrls) -> Self {
        self.bases = Some(bases);
        self
    }

    /// Which endpoint to fetch from.
    #[must_use]
    pub fn endpoint(mut self, endpoint: TokenEndpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Lives on this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Takes hosts and clock from a client, unless they were chosen.
    pub(crate) fn inherit_defaults(mut self, bases: &BaseUrls, clock: &Arc<dyn Clock>) -> Self {
        self.bases.get_or_insert_with(|| bases.clone());
        self.clock.get_or_insert_with(|| Arc::clone(clock));
        self
    }

    /// Shares its token with the other keepers of this store, which is then read every 2 s, and whenever it
    /// [hints](TokenStore::wait_for_change) at a newer token.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Spreads its attempts in time from this seed, so that a run can be repeated.
    #[must_use]
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells this function what an operator wants to know. It runs inside the keeper's task, so it must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&TokenEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The keeper. Nothing is fetched yet.
    #[must_use]
    pub fn build(self) -> TokenCache {
        let (asks, inbox) = mpsc::channel(REQUEST_QUEUE_CAPACITY);
        let endpoint = match self.origin {
            Upstream::Weixin(_) => self.endpoint,
            // A server is asked as `stable_token` is: asking ends nothing, and the same token may come again.
            Upstream::Server(_) => TokenEndpoint::StableToken,
        };
        let lifecycle = RefreshState::new(endpoint, self.seed.unwrap_or_else(random_seed));
        let (status_out, status) = watch::channel(lifecycle.status());
        let current = Arc::new(ArcSwapOption::empty());
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let shared = self.store.is_some();
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::with_clock(Arc::clone(&clock))));
        let appid = self.appid.clone();
        let rounds = TokenFetcher {
            hosts: Hosts::new(self.bases.unwrap_or_default()),
            endpoint,
            holder: format!("{:016x}", random_seed()),
            appid: self.appid,
            origin: self.origin,
            transport: self.transport,
            store,
            clock: Arc::clone(&clock),
        };
        let worker = RefreshTask::new(
            lifecycle,
            Arc::new(rounds),
            shared,
            inbox,
            status_out,
            Arc::clone(&current),
            self.observer,
        );
        TokenCache { appid, asks, status, current, berth: Arc::new(TaskSlot::new(worker)), clock }
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appid, bases, endpoint, .. } = self;
        f.debug_struct("KeeperBuilder")
            .field("appid", appid)
            .field("bases", bases)
            .field("endpoint", endpoint)
            .finish()
    }
}
