//! The token cache: the refresh state, and the one task that carries out its actions.

mod fetch;
mod refresh_task;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use tokio::sync::{oneshot, watch};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, ErrorCollector, ValidationError, ValidationErrors};

use self::fetch::TokenFetcher;
use self::refresh_task::{RefreshTask, Request, TaskSlot};
use super::weixin::WeixinUpstream;
use super::{
    AttemptLimit, CachedToken, CurrentToken, Evidence, Generation, Observer, RefreshState, ReportOutcome,
    TokenEndpoint, TokenError, TokenErrorKind, TokenEvent, TokenSource, TokenStatus, TokenUpstream,
};
use crate::clock::{Clock, ClockReading, MonotonicInstant, SystemClock};
use crate::hosts::Hosts;
use crate::jitter::random_seed;
use crate::store::{MemoryStore, OwnUpstream, TokenFallback, TokenStore};
use crate::transport::Transport;

/// Keeps the token of one app fresh. It fetches the next token ahead of time and serves the current one meanwhile.
///
/// A clone is cheap and is the same cache. The constructor starts nothing. The first [`token`](TokenSource::token)
/// starts the refresh task on the caller's tokio runtime, whose timer must be enabled.
///
/// The task makes all fetches and ends with the last clone. If its runtime ends first, the next caller starts it on
/// their runtime. After a panic it starts again some seconds later.
#[derive(Clone, derive_more::Debug)]
#[debug("TokenCache({:?})", &*status.borrow())]
pub struct TokenCache {
    appid: AppId,
    requests: UnboundedSender<Request>,
    status: watch::Receiver<TokenStatus>,
    current: Arc<ArcSwapOption<CachedToken>>,
    task_slot: Arc<TaskSlot>,
    clock: Arc<dyn Clock>,
}

impl TokenCache {
    /// Returns the current token, the last failure and the planned attempt.
    pub fn status(&self) -> TokenStatus {
        self.status.borrow().clone()
    }

    /// Returns the time on the clock of this cache.
    pub fn now(&self) -> ClockReading {
        self.clock.now()
    }

    /// Ends the refresh task, before the cache or the process ends: a running attempt gets 5 s to end. After that it
    /// is given up, and its lease is released, so that a peer can fetch at once. Without this call the lease
    /// expires by itself, within 6 s.
    ///
    /// A later call for a token starts the task again.
    ///
    /// # Cancel safety
    /// The task ends all the same.
    pub async fn close(&self) {
        let mut status = self.status.clone();
        status.mark_unchanged();
        if !self.task_slot.is_running() {
            return;
        }
        let (sender, mut closed) = oneshot::channel();
        self.send(Request::Close(sender));
        // A task that ends meanwhile may not see the request, but it publishes its end.
        while self.task_slot.is_running() {
            tokio::select! {
                biased;
                _ = &mut closed => return,
                _ = status.changed() => {}
            }
        }
    }

    /// Sends a request to the task, which never ends while this handle exists.
    fn send(&self, request: Request) {
        let _ = self.requests.unbounded_send(request);
    }

    /// Starts the task unless it is running.
    fn ensure_running(&self) -> Result<(), TokenError> {
        self.task_slot.ensure_running(&*self.clock)
    }

    /// Starts the task again if it has ended. An error does not matter while there is a valid token.
    fn keep_running(&self) {
        if self.task_slot.has_stopped() {
            let _ = self.ensure_running();
        }
    }

    /// Waits until `check` returns a value for the status. Starts the task again if it ends meanwhile.
    async fn wait_until<T>(
        &self,
        mut check: impl FnMut(&TokenStatus, ClockReading) -> Option<T>,
    ) -> Result<T, TokenError> {
        let mut status = self.status.clone();
        loop {
            let fetching = {
                let status = status.borrow_and_update();
                if let Some(found) = check(&status, self.clock.now()) {
                    return Ok(found);
                }
                status.fetching
            };
            self.ensure_running()?;
            if !fetching {
                self.send(Request::Token);
            }
            if status.changed().await.is_err() {
                return Err(TokenError::new(TokenErrorKind::Interrupted, None));
            }
        }
    }

    /// Sends a report to the task and returns its outcome.
    async fn report(&self, generation: Generation, evidence: Evidence) -> Result<ReportOutcome, TokenError> {
        let mut status = self.status.clone();
        loop {
            status.mark_unchanged();
            self.ensure_running()?;
            let (response, mut outcome) = oneshot::channel();
            self.send(Request::Report { generation, evidence, response });
            // If the runtime of the task ends, the report is dropped or waits for the next task.
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut outcome => break outcome,
                    _ = status.changed() => self.ensure_running()?,
                }
            };
            if let Ok(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }
}

#[async_trait]
impl TokenSource for TokenCache {
    fn appid(&self) -> Option<&AppId> {
        Some(&self.appid)
    }

    fn current(&self) -> CurrentToken {
        self.keep_running();
        CurrentToken::from_guard(self.current.load(), self.clock.now())
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        self.keep_running();
        self.wait_until(|status, now| match (status.usable(now), status.recent_failure(now)) {
            (Some(token), _) => Some(Ok(Arc::clone(token))),
            (None, Some(failure)) => Some(Err(failure.with_remaining_delay(status.next_attempt_at, now))),
            (None, None) => None,
        })
        .await?
    }

    async fn refresh(
        &self,
        generation: Generation,
        evidence: Evidence,
    ) -> Result<Arc<CachedToken>, TokenError> {
        let (after_generation, reported_at_seq) = match self.report(generation, evidence).await? {
            ReportOutcome::AlreadyRefreshed(token) => return Ok(token),
            ReportOutcome::Rejected(error) => return Err(error),
            ReportOutcome::Pending { after_generation, failure_seq } => (after_generation, failure_seq),
        };
        self.wait_until(|status, now| match (status.usable(now), &status.failure) {
            (Some(token), _) if token.generation() > after_generation => Some(Ok(Arc::clone(token))),
            (_, Some(failure)) if status.failure_seq > reported_at_seq => Some(Err(failure.clone())),
            _ => None,
        })
        .await?
    }
}

/// Builds a [`TokenCache`]. `U` is what the upstream is made of.
#[must_use = "a builder does nothing before `build`"]
#[derive(derive_more::Debug, derive_setters::Setters)]
#[debug("TokenCacheBuilder({upstream:?})")]
#[setters(generate = false, strip_option)]
pub struct TokenCacheBuilder<U = WeixinSettings> {
    upstream: U,
    clock: Option<Arc<dyn Clock>>,
    /// Sets the seed of the jitter, so that a run can be repeated. Default: random.
    #[setters(generate, rename = "jitter_seed")]
    seed: Option<u64>,
    observer: Option<Observer>,
    /// Bounds how many of the caches with this limit make an attempt at once. Default: no bound.
    #[setters(generate)]
    attempt_limit: Option<AttemptLimit>,
    /// Whose records in the store are used. `None` if there is no store.
    own_upstream: Option<OwnUpstream>,
    store: Option<Arc<dyn TokenStore>>,
    /// Keeps the last token for a start while the store fails. Default: nothing does.
    #[setters(generate)]
    fallback: Option<Arc<dyn TokenFallback>>,
}

/// Settings of a token cache that fetches from Weixin.
#[derive(derive_more::Debug)]
#[debug("{appid:?}, {endpoint:?}, {bases:?}")]
pub struct WeixinSettings {
    appid: Result<AppId, ValidationError>,
    secret: Result<AppSecret, ValidationError>,
    transport: Arc<dyn Transport>,
    endpoint: TokenEndpoint,
    bases: Option<BaseUrls>,
}

impl TokenCache {
    /// Starts building a token cache that fetches from Weixin. [`build`](TokenCacheBuilder::build) reports an invalid
    /// AppID or AppSecret.
    pub fn builder(
        appid: impl TryInto<AppId, Error: Into<ValidationError>>,
        secret: impl TryInto<AppSecret, Error: Into<ValidationError>>,
        transport: impl Transport + 'static,
    ) -> TokenCacheBuilder {
        TokenCacheBuilder::new(WeixinSettings {
            appid: appid.try_into().map_err(Into::into),
            secret: secret.try_into().map_err(Into::into),
            transport: Arc::new(transport),
            endpoint: TokenEndpoint::default(),
            bases: None,
        })
    }

    /// Starts building a token cache that fetches from another upstream, such as a control server.
    pub fn from_upstream(
        upstream: impl TokenUpstream + 'static,
    ) -> TokenCacheBuilder<Arc<dyn TokenUpstream>> {
        TokenCacheBuilder::new(Arc::new(upstream))
    }
}

impl<U> TokenCacheBuilder<U> {
    fn new(upstream: U) -> Self {
        Self {
            upstream,
            clock: None,
            seed: None,
            observer: None,
            attempt_limit: None,
            own_upstream: None,
            store: None,
            fallback: None,
        }
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    /// Sets a function that receives all events. It runs in the refresh task, so it must not block.
    pub fn on_event(self, observer: impl Fn(&TokenEvent) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }
}

impl TokenCacheBuilder<WeixinSettings> {
    /// Sets the base URL. Default: `https://api.weixin.qq.com`.
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Sets the base URLs in order of preference.
    ///
    /// If a host cannot be reached, the same attempt tries the next one. If a host gives no response of Weixin's,
    /// or errcode −1, the next attempt goes to the next host. The response may be lost then, and the rules for lost
    /// responses apply. The first host is tried again after 5 min.
    pub fn api_bases(mut self, bases: BaseUrls) -> Self {
        self.upstream.bases = Some(bases);
        self
    }

    /// Sets the endpoint that issues the tokens.
    pub fn endpoint(mut self, endpoint: TokenEndpoint) -> Self {
        self.upstream.endpoint = endpoint;
        self
    }

    /// Shares the token with the peers that use this store. The cache reads the store when it
    /// [changes](TokenStore::wait_for_change). Default: a store in memory.
    pub fn store(self, store: impl TokenStore + 'static) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }

    /// Takes the hosts and the clock of a client, unless they are set.
    pub(crate) fn inherit_defaults(mut self, bases: &BaseUrls, clock: &Arc<dyn Clock>) -> Self {
        self.upstream.bases.get_or_insert_with(|| bases.clone());
        self.clock.get_or_insert_with(|| Arc::clone(clock));
        self
    }

    /// Builds the cache. It fetches nothing yet.
    ///
    /// # Errors
    /// [`ValidationErrors`] lists all problems of AppID and AppSecret.
    pub fn build(self) -> Result<TokenCache, ValidationErrors> {
        let Self { upstream, clock, seed, observer, attempt_limit, store, fallback, .. } = self;
        let WeixinSettings { appid, secret, transport, endpoint, bases } = upstream;
        let mut errors = ErrorCollector::default();
        let (appid, secret) = (errors.keep(appid), errors.keep(secret));
        let (appid, secret) = errors.finish(appid.zip(secret))?;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let bases = bases.unwrap_or_default();
        let own_upstream = Some(OwnUpstream::new(bases.first(), endpoint));
        let hosts = Hosts::new(bases);
        let upstream: Arc<dyn TokenUpstream> =
            Arc::new(WeixinUpstream { appid, secret, endpoint, hosts, transport, clock: Arc::clone(&clock) });
        let clock = Some(clock);
        let builder = TokenCacheBuilder {
            upstream,
            clock,
            seed,
            observer,
            attempt_limit,
            own_upstream,
            store,
            fallback,
        };
        Ok(builder.build())
    }
}

impl TokenCacheBuilder<Arc<dyn TokenUpstream>> {
    /// Builds the cache. It fetches nothing yet.
    pub fn build(self) -> TokenCache {
        let Self { upstream, clock, seed, observer, attempt_limit, own_upstream, store, fallback } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let (requests, received_requests) = unbounded();
        let (appid, behavior) = (upstream.appid().clone(), upstream.behavior());
        let state = RefreshState::new(behavior, seed.unwrap_or_else(random_seed));
        let (status_sender, status) = watch::channel(state.status());
        let current = Arc::new(ArcSwapOption::empty());
        let is_shared = store.is_some();
        let fetcher = TokenFetcher {
            appid: appid.clone(),
            upstream,
            behavior,
            own_upstream,
            holder: format!("{:016x}", random_seed()),
            store: store.unwrap_or_else(|| Arc::new(MemoryStore::with_clock(Arc::clone(&clock)))),
            fallback,
            attempt_limit,
            clock: Arc::clone(&clock),
            publishing: parking_lot::Mutex::default(),
        };
        let task = RefreshTask {
            state,
            fetcher: Arc::new(fetcher),
            is_shared,
            requests: received_requests,
            status: status_sender,
            current: Arc::clone(&current),
            observer,
            attempt: None,
            seen_change: 0,
            restart_not_before: MonotonicInstant::default(),
        };
        TokenCache { appid, requests, status, current, task_slot: Arc::new(TaskSlot::new(task)), clock }
    }
}
