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
pub use wxsub_core::proto::endpoint::{
    stable_token::PATH as STABLE, subscribe::PATH as SEND, token::PATH as TOKEN,
};

use std::collections::HashMap;
use std::future::pending;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpListener;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::error::SendError;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::{AppId, ConsentAction, ConsentRequest, Grant, Message, OpenId, Scene, TemplateId};
use wxsub_core::testing::ManualClock;
use wxsub_core::token::{TokenCache, TokenEndpoint};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportLimits};
use wxsub_sandbox::{AppSettings, Sandbox};

/// The AppSecret of every harness. Tests search logs and output for it.
pub const SECRET: &str = "PLANTED-app-secret";

/// A sandbox, a client and the route between them. Time advances only when the test says so.
#[derive(Debug)]
pub struct Harness {
    /// The clock of both sides.
    pub clock: Arc<ManualClock>,
    /// The token cache of the app.
    pub cache: TokenCache,
    /// The app's client.
    pub client: Client,
    route: Route,
    counter: Arc<RequestCounter>,
    weixin: Weixin,
}

impl Deref for Harness {
    type Target = Weixin;

    fn deref(&self) -> &Weixin {
        &self.weixin
    }
}

/// Weixin: a sandbox with one app.
#[derive(Debug)]
pub struct Weixin {
    /// The sandbox.
    pub sandbox: Sandbox,
}

impl Weixin {
    /// Adds the app to a sandbox.
    pub fn new(sandbox: Sandbox) -> Self {
        sandbox.add_app(app(), SECRET.parse().unwrap(), [template()]);
        Self { sandbox }
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

    /// Ends all tokens.
    pub fn invalidate_tokens(&self) {
        self.sandbox.invalidate_tokens(&app()).unwrap();
    }

    /// How many messages the user has received.
    pub fn received_count(&self, openid: &str) -> usize {
        self.sandbox.mailbox(&openid.parse().unwrap()).len()
    }

    /// How many requests to this path the sandbox has received.
    pub fn request_count(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }
}

/// Serves the sandbox on loopback, as long as the runtime lives.
pub async fn serve(sandbox: &Sandbox) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(wxsub_sandbox::http::serve(listener, sandbox.clone(), pending()));
    address
}

impl Harness {
    /// Sets everything up with default settings and limits.
    pub async fn new(route: Route) -> Self {
        Self::with(route, TokenEndpoint::Token, AppSettings::default(), TransportLimits::default()).await
    }

    /// Sets everything up with this token endpoint, these settings of the app and these limits of the transport.
    pub async fn with(
        route: Route,
        endpoint: TokenEndpoint,
        settings: AppSettings,
        limits: TransportLimits,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let wall = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || Duration::from_millis(wall.now().wall.get())));
        let weixin = Weixin::new(sandbox);
        weixin.sandbox.configure(&app(), settings).unwrap();
        let (transport, base) = route.connect(&weixin.sandbox, &clock, limits).await;
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
            .api_base(base)
            .clock(clock.clone())
            .build();
        Self { clock, cache, client, route, counter, weixin }
    }

    /// Sends a message while time advances.
    pub async fn send_while_advancing(&self, message: &Message, time: Duration) -> Result<(), SendError> {
        let (client, message) = (self.client.clone(), message.clone());
        let sending = tokio::spawn(async move { client.send(&message).await });
        self.advance(time).await;
        sending.await.unwrap()
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

/// Counts requests by path and passes them on.
#[derive(derive_more::Debug)]
#[debug("RequestCounter")]
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
