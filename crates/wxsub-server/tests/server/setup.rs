//! A server, its sandbox, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_service::Service;
use wxsub_api::ApiKey;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::store::{CasOutcome, LeaseOutcome, MemoryStore, StoredToken, TokenStore, UpstreamId};
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{HttpRequest, TransportError, retry_after_of};
use wxsub_hyper::ControlServer;
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{ConsentAction, ConsentRequest};
use wxsub_sandbox::{AppSettings, Sandbox};
use wxsub_sandbox_transport::SandboxTransport;
use wxsub_server::{ApiKeyDigest, Config, Server};
use wxsub_test_support::WAIT_TIMEOUT;

use super::test_ledger::TestLedger;
use super::webhook_receivers::WebhookReceivers;

pub(crate) use wxsub_proto::endpoint::{
    domain_ip::PATH as PROBE, stable_token::PATH as STABLE, subscribe::PATH as SEND, token::PATH as TOKEN,
};

pub(crate) const SECRET: &str = "PLANTED-app-secret";

/// Server and sandbox on one clock.
pub(crate) struct Setup {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
    /// The hosts whose names end with `.example`.
    pub(crate) receivers: Arc<WebhookReceivers>,
    /// The routes of the server and of others beside it. Requests go to each in turn.
    routers: Vec<Router>,
    requests: AtomicUsize,
    store: Arc<MemoryStore>,
    ledgers: Vec<Arc<TestLedger>>,
}

/// A response, and the request for it.
#[derive(Debug)]
pub(crate) struct TestResponse {
    /// Method and target.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// The key of the client of this letter.
pub(crate) fn key(letter: char) -> String {
    letter.to_string().repeat(43)
}

/// The digest of this key.
pub(crate) fn digest(letter: char) -> ApiKeyDigest {
    ApiKeyDigest::of(&ApiKey::new(key(letter)).unwrap())
}

/// A client of this letter and name.
pub(crate) fn client(letter: char, apps: &str, scopes: &str) -> String {
    let digest = digest(letter);
    format!(
        "[[clients]]\nname = \"{letter}\"\nkey_sha256 = \"{digest}\"\napps = [{apps}]\nscopes = [{scopes}]\n"
    )
}

pub(crate) const ALL: &str = r#""token:read", "token:report", "message:send""#;

/// Two apps, and the client `a` with all scopes for the first.
pub(crate) fn usual() -> String {
    client('a', "\"wx1\"", ALL)
}

/// The two apps.
pub(crate) const APPS: &str = "[[apps]]\nappid = \"wx1\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
     api_base = \"http://127.0.0.1:1\"\n\
                              [[apps]]\nappid = \"wx2\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
                              api_base = \"http://127.0.0.1:1\"\n";

/// So many other apps.
pub(crate) fn apps(count: u32) -> String {
    let app = |number: u32| {
        format!(
            "[[apps]]\nappid = \"wx{number:016x}\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
             api_base = \"http://127.0.0.1:1\"\n"
        )
    };
    (0..count).map(app).collect()
}

pub(crate) fn config(more: &str) -> Config {
    config_with_audit("\"off\"", more)
}

pub(crate) fn config_with_audit(audit: &str, more: &str) -> Config {
    read_config(&format!("audit = {audit}\n{APPS}{more}")).unwrap()
}

/// The configuration without an audit and with other apps.
pub(crate) fn config_of_apps(apps: &str, more: &str) -> Config {
    read_config(&format!("audit = \"off\"\n{apps}{more}")).unwrap()
}

/// The configuration of this text, or its problems.
pub(crate) fn read_config(text: &str) -> Result<Config, String> {
    let read = Config::read(text, |_| Some(SECRET.to_owned()));
    read.map(|(config, _)| config).map_err(|error| error.to_string())
}

fn sandbox(clock: &Arc<ManualClock>) -> Sandbox {
    let wall = Arc::clone(clock);
    let sandbox = Sandbox::with_clock(Arc::new(move || Duration::from_millis(wall.now().wall.get())));
    for app in ["wx1", "wx2"] {
        sandbox.add_app(app.parse().unwrap(), SECRET.parse().unwrap(), ["T".parse().unwrap()]);
    }
    sandbox
}

/// What a server is built on.
struct Parts {
    clock: Arc<ManualClock>,
    sandbox: Sandbox,
    /// The store of the configuration if `None`.
    store: Option<Arc<MemoryStore>>,
    ledger: Option<Arc<TestLedger>>,
    open_files: Option<usize>,
}

impl Parts {
    fn new(clock: Arc<ManualClock>) -> Self {
        let (sandbox, store) = (sandbox(&clock), Some(Arc::new(MemoryStore::with_clock(clock.clone()))));
        Self { clock, sandbox, store, ledger: None, open_files: None }
    }

    /// The worker of a ledger runs.
    async fn build(self, config: Config) -> Setup {
        let Self { clock, sandbox, store, ledger, open_files } = self;
        let receivers = Arc::<WebhookReceivers>::default();
        let weixin = SandboxTransport::new(&sandbox).clock(clock.clone());
        let transport = Arc::new(receivers.clone().beside(weixin));
        let mut builder =
            Server::builder(config).clock(clock.clone()).transport(transport).open_files(open_files);
        if let Some(store) = &store {
            builder = builder.store(store.clone());
        }
        if let Some(ledger) = &ledger {
            builder = builder.ledger(ledger.clone());
        }
        let server = builder.build().await.unwrap();
        if ledger.is_some() {
            server.run_worker();
        }
        let ledgers = ledger.into_iter().collect();
        Setup::of(server, clock, sandbox, store.unwrap_or_default(), ledgers, receivers)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Setup {
    pub(crate) async fn new(more: &str) -> Self {
        Self::with_config(config(more)).await
    }

    pub(crate) async fn with_config(config: Config) -> Self {
        Parts::default().build(config).await
    }

    /// A server that may have this many open files.
    pub(crate) async fn with_open_files(config: Config, limit: usize) -> Self {
        Parts { store: None, open_files: Some(limit), ..Parts::default() }.build(config).await
    }

    /// A server with a ledger in memory, whose worker runs.
    pub(crate) async fn with_ledger(more: &str) -> (Self, Arc<TestLedger>) {
        Self::with_ledger_and(config(more)).await
    }

    /// The same with another configuration.
    pub(crate) async fn with_ledger_and(config: Config) -> (Self, Arc<TestLedger>) {
        let parts = Parts::default();
        let ledger = Arc::new(TestLedger::new(parts.clock.clone()));
        (Parts { ledger: Some(ledger.clone()), ..parts }.build(config).await, ledger)
    }

    /// Servers with these ledgers, which are on one database. Requests go to each in turn.
    pub(crate) async fn with_ledgers(more: &str, clock: Arc<ManualClock>, ledgers: Vec<TestLedger>) -> Self {
        let mut ledgers = ledgers.into_iter().map(Arc::new);
        let parts = Parts { ledger: ledgers.next(), ..Parts::new(clock) };
        let mut setup = parts.build(config(more)).await;
        for ledger in ledgers {
            let other = setup.on_ledger(more, &ledger).await;
            setup.routers.extend(other.routers);
            setup.ledgers.extend(other.ledgers);
        }
        setup
    }

    /// Another server on this ledger, with the same sandbox and clock. Its worker runs.
    pub(crate) async fn on_ledger(&self, more: &str, ledger: &Arc<TestLedger>) -> Self {
        Parts { ledger: Some(Arc::clone(ledger)), ..self.parts() }.build(config(more)).await
    }

    /// A server with the store of its configuration.
    pub(crate) async fn with_own_store(config: Config) -> Self {
        Parts { store: None, ..Parts::default() }.build(config).await
    }

    /// A server with the store and the ledger of its configuration. Real time passes for it, and none for the sandbox.
    pub(crate) async fn in_real_time(config: Config) -> Self {
        let Parts { clock, sandbox, .. } = Parts::default();
        let receivers = Arc::<WebhookReceivers>::default();
        let transport = receivers.clone().beside(SandboxTransport::new(&sandbox).clock(clock.clone()));
        let server = Server::builder(config).transport(Arc::new(transport)).build().await.unwrap();
        Self::of(server, clock, sandbox, Arc::default(), Vec::new(), receivers)
    }

    /// Another server that shares its tokens with this one.
    pub(crate) async fn beside(&self, more: &str) -> Self {
        self.parts().build(config(more)).await
    }

    /// Those of another server beside this one.
    fn parts(&self) -> Parts {
        let (clock, store) = (Arc::clone(&self.clock), Some(Arc::clone(&self.store)));
        Parts { clock, sandbox: self.sandbox.clone(), store, ledger: None, open_files: None }
    }

    /// Puts a token of another upstream into the store, so that the server cannot use the record of `wx1`.
    pub(crate) async fn store_foreign_token(&self) {
        let (app, now) = ("wx1".parse().unwrap(), self.clock.now().wall);
        let held = self.store.load(&app).await.unwrap().generation();
        let (token, lifetime) = ("FOREIGN".parse().unwrap(), Duration::from_secs(7200));
        let foreign = StoredToken::new(token, held.next(now), now, lifetime)
            .with_upstream(UpstreamId::parse("0123456789abcdef"));
        let stored = self.store.compare_and_set(&app, held, foreign).await.unwrap();
        assert!(matches!(stored, CasOutcome::Stored));
    }

    /// A peer takes or renews the lease of `wx1`.
    pub(crate) async fn lease_to_peer(&self, peer: &str) {
        let (app, length) = ("wx1".parse().unwrap(), Duration::from_secs(6));
        self.store.acquire_lease(&app, peer, length).await.unwrap();
    }

    /// Whether a server has the lease of `wx1`.
    pub(crate) async fn is_leased(&self) -> bool {
        let (app, length) = ("wx1".parse().unwrap(), Duration::from_millis(1));
        let outcome = self.store.acquire_lease(&app, "test", length).await.unwrap();
        outcome != LeaseOutcome::Acquired
    }

    fn of(
        server: Server,
        clock: Arc<ManualClock>,
        sandbox: Sandbox,
        store: Arc<MemoryStore>,
        ledgers: Vec<Arc<TestLedger>>,
        receivers: Arc<WebhookReceivers>,
    ) -> Self {
        let (routers, requests) = (vec![server.router()], AtomicUsize::new(0));
        Self { clock, sandbox, server, receivers, routers, requests, store, ledgers }
    }

    /// Stops the server, which then writes its queued audit lines. Returns how many messages were cut.
    pub(crate) async fn stop(&self) -> usize {
        self.serve_until(async {}).await
    }

    /// Serves until `shutdown`, and stops.
    pub(crate) async fn serve_until(&self, shutdown: impl Future<Output = ()>) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.server.serve(listener, None, shutdown).await
    }

    fn next_router(&self) -> Router {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.routers[request % self.routers.len()].clone()
    }

    /// One request from 10.1.2.3.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        key: Option<&str>,
        body: impl Into<Body>,
    ) -> TestResponse {
        let bearer = key.map(|key| ("Authorization", format!("Bearer {key}")));
        self.ask_with(method, target, bearer.as_slice(), body).await
    }

    /// One request with these headers, from 10.1.2.3.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, String)],
        body: impl Into<Body>,
    ) -> TestResponse {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        call(self.next_router(), request.body(body.into()).unwrap(), [10, 1, 2, 3]).await
    }

    /// The typed client `a`, over a call of the routes.
    pub(crate) fn typed_client(&self) -> ControlServer {
        let router = self.next_router();
        let transport = move |request: HttpRequest| {
            let mut router = router.clone();
            async move {
                let response = router.call(request.into_http().map(Body::from)).await.unwrap();
                let (head, body) = response.into_parts();
                let mut response =
                    RawResponse::new(head.status.as_u16(), to_bytes(body, usize::MAX).await.unwrap());
                response.retry_after = retry_after_of(&head.headers);
                Ok::<_, TransportError>(response)
            }
        };
        let base = "http://127.0.0.1:1".parse().unwrap();
        ControlServer::new(base, key('a').parse().unwrap(), transport).clock(Arc::clone(&self.clock))
    }

    pub(crate) async fn get(&self, target: &str, key: &str) -> TestResponse {
        self.ask("GET", target, Some(key), Body::empty()).await
    }

    /// The current token from the v1 API.
    pub(crate) async fn token(&self) -> TestResponse {
        self.get("/v1/apps/wx1/access_token", &key('a')).await
    }

    pub(crate) async fn report(&self, token: &str) -> TestResponse {
        let body = format!("{{\"access_token\":\"{token}\"}}");
        self.ask("POST", "/v1/apps/wx1/access_token/report", Some(&key('a')), body).await
    }

    pub(crate) async fn send(&self, body: String) -> TestResponse {
        self.ask("POST", "/v1/apps/wx1/messages", Some(&key('a')), body).await
    }

    /// The current token from the Weixin-compatible API.
    pub(crate) async fn classic(&self, key: &str) -> TestResponse {
        let target = format!("{TOKEN}?grant_type=client_credential&appid=wx1&secret={key}");
        self.ask("GET", &target, None, Body::empty()).await
    }

    /// The current token from `stable_token`.
    pub(crate) async fn stable(&self, key: &str, force_refresh: bool) -> TestResponse {
        self.ask("POST", STABLE, None, stable_body("wx1", key, force_refresh)).await
    }

    pub(crate) fn allow(&self, openid: &str, scene: u16) {
        self.allow_in("wx1", openid, scene);
    }

    pub(crate) fn allow_in(&self, appid: &str, openid: &str, scene: u16) {
        let request = ConsentRequest::new(appid, "T", scene).unwrap();
        self.sandbox.consent(request, ConsentAction::Confirm { openid: openid.parse().unwrap() }).unwrap();
    }

    pub(crate) fn received(&self, openid: &str) -> usize {
        self.sandbox.mailbox(&openid.parse().unwrap()).len()
    }

    /// Invalidates all tokens of the app.
    pub(crate) fn invalidate_tokens(&self) {
        self.sandbox.invalidate_tokens(&"wx1".parse().unwrap()).unwrap();
    }

    pub(crate) fn seen(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }

    /// Waits until Weixin has got so many requests to this path.
    pub(crate) async fn until_seen(&self, path: &str, count: u64) {
        until(async || self.seen(path) >= count).await;
    }

    pub(crate) async fn metrics(&self) -> String {
        self.ask("GET", "/metrics", None, "").await.text
    }

    /// Checks that the metrics have these lines. One without a value may have any.
    pub(crate) async fn assert_metrics(&self, lines: &[&str]) {
        let metrics = self.metrics().await;
        let is_line = |found: &str, line: &str| {
            found == line || found.rsplit_once(' ').is_some_and(|(series, _)| series == line)
        };
        for line in lines {
            assert!(metrics.lines().any(|found| is_line(found, line)), "{line} is not in\n{metrics}");
        }
    }

    /// The status of the first app in the list of client `a`.
    pub(crate) async fn app(&self) -> Value {
        self.get("/v1/apps", &key('a')).await.json()["apps"][0].clone()
    }

    /// Changes the settings of `wx1` at Weixin.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut AppSettings)) {
        let appid = "wx1".parse().unwrap();
        let mut settings = self.sandbox.settings(&appid).unwrap();
        change(&mut settings);
        self.sandbox.configure(&appid, settings).unwrap();
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds)).await;
    }

    /// Advances time, also to each time at which a task wakes. No time passes while a ledger is at work.
    async fn advance(&self, time: Duration) {
        let end = self.clock.now().mono + time;
        loop {
            self.settle().await;
            let now = self.clock.now().mono;
            let next = self.clock.next_deadline().map_or(end, |next| next.min(end));
            self.clock.advance(next.duration_since(now));
            if next == end {
                return self.settle().await;
            }
        }
    }

    /// Lets all tasks run until they wait for time.
    async fn settle(&self) {
        loop {
            self.clock.advance_and_run(Duration::ZERO).await;
            if self.ledgers.iter().all(|ledger| ledger.is_idle()) {
                return;
            }
        }
    }

    /// Advances time until there is a response, also while the server waits.
    pub(crate) async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.advance(Duration::from_millis(500)) => {}
            }
        }
    }
}

/// The response of these routes to a client with this address.
pub(crate) async fn call(mut router: Router, mut request: Request<Body>, address: [u8; 4]) -> TestResponse {
    let asked = format!("{} {}", request.method(), request.uri());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4))));
    let response = tokio::spawn(async move { router.call(request).await.unwrap() }).await.unwrap();
    let (head, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    assert!(!text.contains(SECRET));
    TestResponse { request: asked, status: head.status.as_u16(), headers: head.headers, text }
}

impl Setup {
    /// What the work returns while time passes.
    ///
    /// # Panics
    /// After two minutes of the manual clock.
    pub(crate) async fn within_two_minutes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        for _ in 0..120 {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.pass(1) => {}
            }
        }
        panic!("the work has no deadline")
    }
}

/// Lets other tasks run, without time of the manual clock passing, until this is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let end = clock.now().mono + WAIT_TIMEOUT;
    while !is_so().await {
        assert!(clock.now().mono < end, "not within {WAIT_TIMEOUT:?}");
        tokio::task::yield_now().await;
    }
}

/// Whether an object has these members, and objects and lists in it theirs. `null` stands for an absent member.
fn includes(value: &Value, members: &Value) -> bool {
    match (value, members) {
        (Value::Object(object), Value::Object(members)) => {
            let found = |name: &String| object.get(name).unwrap_or(&Value::Null);
            members.iter().all(|(name, member)| includes(found(name), member))
        }
        (Value::Array(values), Value::Array(members)) => {
            values.len() == members.len()
                && values.iter().zip(members).all(|(value, member)| includes(value, member))
        }
        _ => value == members,
    }
}

/// Checks that an object has these members.
#[track_caller]
pub(crate) fn has(value: &Value, members: &Value) {
    assert!(includes(value, members), "{members} is not in {value}");
}

impl TestResponse {
    /// Checks the status, and that the body has these members. With a `kind`, it is a problem.
    #[track_caller]
    pub(crate) fn has(self, status: u16, members: &Value) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert!(includes(&self.json(), members), "{members} is not in {self:?}");
        if members.get("kind").is_some() {
            self.kind();
        }
        self
    }

    /// Checks that the request failed with this status and kind of problem.
    #[track_caller]
    pub(crate) fn is(self, status: u16, kind: &str) -> Self {
        self.has(status, &json!({"kind": kind}))
    }

    /// The id of a message.
    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn access_token(&self) -> String {
        self.json()["access_token"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub(crate) fn errcode(&self) -> i64 {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["errcode"].as_i64().unwrap_or_else(|| panic!("{self:?}"))
    }

    pub(crate) fn kind(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.request);
        assert_eq!(self.json()["status"], self.status);
        self.json()["kind"].as_str().unwrap().to_owned()
    }

    pub(crate) fn retry_after(&self) -> u64 {
        self.headers["retry-after"].to_str().unwrap().parse().unwrap()
    }
}

/// Posts a message to the Weixin-compatible API.
pub(crate) async fn subscribe(setup: &Setup, token: &str, body: String) -> TestResponse {
    setup.ask("POST", &format!("{SEND}?access_token={token}"), None, body).await
}

/// The body of a request to `stable_token`.
pub(crate) fn stable_body(appid: &str, key: &str, force_refresh: bool) -> String {
    let grant_type = "client_credential";
    json!({"grant_type": grant_type, "appid": appid, "secret": key, "force_refresh": force_refresh})
        .to_string()
}

/// A message in Weixin's format.
pub(crate) fn message(openid: &str, scene: u16) -> String {
    format!(
        r#"{{"touser":"{openid}","template_id":"T","scene":"{scene}","title":"Parcel","data":{{"content":{{"value":"It is here."}}}}}}"#
    )
}
