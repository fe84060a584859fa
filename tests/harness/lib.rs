//! The harness of the end-to-end tests: a sandbox, a client, and one of several routes between them.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "test support may panic"
)]

pub mod readme;
mod route;

pub use route::Route;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::{
    AppId, BaseUrl, ConsentAction, ConsentRequest, Grant, Message, OpenId, Scene, TemplateId,
};
use wxsub_core::store::TokenStore;
use wxsub_core::testing::ManualClock;
use wxsub_core::token::{TokenCache, TokenEndpoint};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportLimits};
use wxsub_sandbox::{AppSettings, Sandbox};

/// The token endpoint.
pub const TOKEN: &str = "/cgi-bin/token";
/// The other token endpoint.
pub const STABLE: &str = "/cgi-bin/stable_token";
/// The send endpoint.
pub const SEND: &str = "/cgi-bin/message/template/subscribe";
/// The AppSecret of every harness. Tests search logs and output for it.
pub const SECRET: &str = "PLANTED-app-secret";

/// A sandbox, a client and the route between them. Time advances only when the test says so.
#[derive(Debug)]
pub struct Harness {
    /// The clock of both sides.
    pub clock: Arc<ManualClock>,
    /// Weixin.
    pub sandbox: Sandbox,
    /// The token cache of the app.
    pub cache: TokenCache,
    /// The app's client.
    pub client: Client,
    route: Route,
    base: BaseUrl,
    counter: Arc<RequestCounter>,
    _server: Option<oneshot::Sender<()>>,
}

impl Harness {
    /// Sets everything up with default settings and limits.
    pub async fn new(route: Route) -> Self {
        Self::with(route, AppSettings::default(), TransportLimits::default()).await
    }

    /// Sets everything up with these settings of the app and these limits of the transport.
    pub async fn with(route: Route, settings: AppSettings, limits: TransportLimits) -> Self {
        Self::with_endpoint(route, TokenEndpoint::Token, settings, limits).await
    }

    /// Sets everything up with a token cache that uses `/cgi-bin/stable_token`.
    pub async fn stable(route: Route) -> Self {
        Self::with_endpoint(
            route,
            TokenEndpoint::StableToken,
            AppSettings::default(),
            TransportLimits::default(),
        )
        .await
    }

    async fn with_endpoint(
        route: Route,
        endpoint: TokenEndpoint,
        settings: AppSettings,
        limits: TransportLimits,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let wall = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || Duration::from_millis(wall.now().wall.get())));
        sandbox.add_app(app(), SECRET.parse().unwrap(), [template()]);
        sandbox.configure(&app(), settings).unwrap();
        let (transport, base, server) = route.connect(&sandbox, &clock, limits).await;
        let counter =
            Arc::new(RequestCounter { transport, counts: Mutex::default(), ended: AtomicU64::new(0) });
        let cache = TokenCache::builder(app(), SECRET, counter.clone())
            .api_base(base.clone())
            .clock(clock.clone())
            .endpoint(endpoint)
            .jitter_seed(7)
            .build()
            .unwrap();
        let client = Client::with_token_source(cache.clone(), counter.clone())
            .api_base(base.clone())
            .clock(clock.clone())
            .build();
        Self { clock, sandbox, cache, client, route, base, counter, _server: server }
    }

    /// The token cache of another process, which shares its token through this store.
    pub fn peer(&self, store: Arc<dyn TokenStore>) -> TokenCache {
        TokenCache::builder(app(), SECRET, self.counter.clone())
            .api_base(self.base.clone())
            .clock(self.clock.clone())
            .store(store)
            .jitter_seed(8)
            .build()
            .unwrap()
    }

    /// Lets the user consent to one message.
    pub fn consent(&self, openid: &str, scene: u16) -> Grant {
        let openid: OpenId = openid.parse().unwrap();
        let scene = Scene::new(scene).unwrap();
        let request = ConsentRequest::new(app(), template(), scene).unwrap();
        self.sandbox.consent(request, ConsentAction::Confirm { openid: openid.clone() }).unwrap();
        Grant::assume_verified(openid, template(), scene).unwrap()
    }

    /// A message to a user who has consented to it.
    pub fn message(&self, openid: &str, scene: u16) -> Message {
        Message::builder(self.consent(openid, scene)).title("Parcel").content("It is here.").build().unwrap()
    }

    /// How many messages the user has received.
    pub fn received_count(&self, openid: &str) -> usize {
        self.sandbox.mailbox(&openid.parse().unwrap()).len()
    }

    /// How many requests to this path the sandbox has received.
    pub fn request_count(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }

    /// Advances time from one deadline to the next. Over real sockets, time waits for the responses to all requests, unless
    /// the last token request hangs by design.
    pub async fn advance(&self, time: Duration) {
        if self.route == Route::InProcess {
            return self.clock.advance_and_run(time).await;
        }
        let end = self.clock.now().mono + time;
        loop {
            self.wait_for_responses().await;
            let now = self.clock.now().mono;
            if now == end {
                return;
            }
            let next = self.clock.next_deadline().map_or(end, |next| next.min(end));
            self.clock.advance(next.duration_since(now));
        }
    }

    /// Runs all tasks until no request is running and none was sent meanwhile.
    async fn wait_for_responses(&self) {
        loop {
            let before = self.counter.total();
            self.clock.advance_and_run(Duration::ZERO).await;
            let (total, ended) = (self.counter.total(), self.counter.ended.load(Ordering::Relaxed));
            if total == before && (total == ended || self.is_hanging()) {
                return;
            }
        }
    }

    /// Whether the last token request has arrived and gets no response.
    fn is_hanging(&self) -> bool {
        let log = self.sandbox.event_log();
        let last = log.events.iter().rev().find(|event| event.what.contains(TOKEN));
        let hanging = last.is_some_and(|event| event.fault.is_some_and(|fault| fault.contains("hang")));
        hanging && log.request_count(TOKEN) == self.counter.count(TOKEN)
    }
}

/// The app of every harness.
pub fn app() -> AppId {
    "wx0123456789abcdef".parse().unwrap()
}

/// Its template.
pub fn template() -> TemplateId {
    "TEMPLATE".parse().unwrap()
}

/// The base URL in process. No server listens there.
pub(crate) fn unused_base() -> BaseUrl {
    "http://localhost".parse().unwrap()
}

/// Counts requests by path and passes them on.
struct RequestCounter {
    transport: Arc<dyn Transport>,
    counts: Mutex<HashMap<String, u64>>,
    /// How many requests have a response or were given up.
    ended: AtomicU64,
}

impl RequestCounter {
    fn total(&self) -> u64 {
        self.counts.lock().unwrap().values().sum()
    }

    fn count(&self, path: &str) -> u64 {
        self.counts.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestCounter")
    }
}

#[async_trait]
impl Transport for RequestCounter {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        *self.counts.lock().unwrap().entry(request.path().to_owned()).or_default() += 1;
        let _running = Running(&self.ended);
        self.transport.execute(request).await
    }
}

/// A request that ends when this is dropped.
struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
