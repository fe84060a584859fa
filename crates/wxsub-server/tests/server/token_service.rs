//! Tokens of a company's own service: `token_url`. The service is a real HTTP server on loopback.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wxsub_sandbox::Sandbox;
use wxsub_server::Config;

use super::setup::{ALL, PROBE, SECRET, Setup, TOKEN, client, has, key, message, read_config, until};

/// The secret of the header.
const HEADER_SECRET: &str = "user=1; key=PLANTED-service-secret";

/// How the service responds to one request.
type Canned = (u16, String);

/// The service does not respond.
const HANG: u16 = 0;

/// A token service. `GET /token` responds with its token, `POST /report` replaces it.
struct Service {
    port: u16,
    sandbox: Mutex<Option<Sandbox>>,
    token: Mutex<String>,
    /// Responses instead of the usual ones, each once.
    canned: Mutex<VecDeque<Canned>>,
    /// Each request: its method and target, and its body.
    requests: watch::Sender<Vec<(String, String)>>,
}

impl Service {
    /// One that does not run yet.
    fn at(port: u16) -> Self {
        let (sandbox, token, canned) = Default::default();
        Self { port, sandbox, token, canned, requests: watch::Sender::default() }
    }

    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let service = Arc::new(Self::at(listener.local_addr().unwrap().port()));
        let router = Router::new().fallback(respond).with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    /// A server whose app `wx1` has its tokens from this service.
    async fn setup(self: &Arc<Self>, more: &str) -> Setup {
        let setup = Setup::with_config(self.config(more)).await;
        *self.sandbox.lock().unwrap() = Some(setup.sandbox.clone());
        self.rotate();
        setup
    }

    fn config(&self, more: &str) -> Config {
        self.config_with_base("http://127.0.0.1:1", more)
    }

    fn config_with_base(&self, base: &str, more: &str) -> Config {
        self.config_with_target("token?app=wx1", base, more)
    }

    fn config_with_target(&self, target: &str, base: &str, more: &str) -> Config {
        let port = self.port;
        let header = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("token-service-{port}"));
        std::fs::write(&header, format!("X-Token-Key: {HEADER_SECRET}\n")).unwrap();
        let text = format!(
            "audit = \"off\"\n[[apps]]\nappid = \"wx1\"\napi_base = \"{base}\"\n\
             token_url = \"http://localhost:{port}/{target}\"\ntoken_url_header_file = {header:?}\n{more}\n{}",
            client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))
        );
        Config::read(&text, |_| None).unwrap().0
    }

    fn report_url(&self) -> String {
        format!("report_url = \"http://localhost:{}/report\"", self.port)
    }

    /// Fetches a new token from Weixin.
    fn rotate(&self) -> String {
        let target = format!("{TOKEN}?grant_type=client_credential&appid=wx1&secret={SECRET}");
        let exchange = self.sandbox.lock().unwrap().as_ref().unwrap().handle("GET", &target, b"");
        let response: Value = serde_json::from_slice(&exchange.outcome.unwrap().body).unwrap();
        let token = response["access_token"].as_str().unwrap().to_owned();
        self.token.lock().unwrap().clone_from(&token);
        token
    }

    fn can(&self, responses: impl IntoIterator<Item = Canned>) {
        self.canned.lock().unwrap().extend(responses);
    }

    /// The methods and targets of all requests.
    fn seen(&self) -> Vec<String> {
        self.requests.borrow().iter().map(|(target, _)| target.clone()).collect()
    }

    /// Waits until this many requests have arrived.
    async fn arrived(&self, count: usize) {
        self.requests.subscribe().wait_for(|requests| requests.len() >= count).await.unwrap();
    }
}

const GET: &str = "GET /token?app=wx1";
const REPORT: &str = "POST /report";

async fn respond(State(service): State<Arc<Service>>, request: Request) -> Response {
    assert_eq!(request.headers()["x-token-key"], HEADER_SECRET);
    let target = format!("{} {}", request.method(), request.uri());
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let canned = service.canned.lock().unwrap().pop_front();
    let (status, response) = canned.unwrap_or_else(|| {
        if target == REPORT {
            service.rotate();
        }
        (200, json!({"access_token": *service.token.lock().unwrap(), "expires_in": 7200}).to_string())
    });
    service.requests.send_modify(|requests| requests.push((target, body)));
    if status == HANG {
        std::future::pending::<()>().await;
    }
    // Only a redirect has a meaning for it.
    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")], response).into_response()
}

#[tokio::test]
async fn token_of_the_service_is_served_and_sends_messages() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    let served = setup.token().await;
    assert_eq!(served.access_token(), *service.token.lock().unwrap());
    // The service may replace it at any time, and Weixin accepts the old one for five minutes.
    assert_eq!(served.json()["expires_in"], 240);
    setup.allow("oUser", 1);
    assert_eq!(setup.send(message("oUser", 1)).await.status, 200);
    assert_eq!(setup.classic(&key('a')).await.access_token(), served.access_token());
    has(&setup.app().await, &json!({"state": "ok", "token_endpoint": "token_url"}));
    // The only fetch from Weixin is that of the service.
    assert_eq!((service.seen(), setup.seen(TOKEN)), (vec![GET.to_owned()], 1));
}

#[tokio::test]
async fn replaced_token_is_noticed_within_66_seconds() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    let before = setup.token().await;
    let new = service.rotate();
    setup.clock.advance(Duration::from_secs(66));
    service.arrived(2).await;
    until(async || setup.token().await.access_token() == new).await;
    let after = setup.token().await.json();
    assert!(after["generation"].as_u64() > before.json()["generation"].as_u64(), "{after}");
    assert_eq!(service.seen().len(), 2);
}

/// A token stays in use while the service fails, until its lifetime ends.
#[tokio::test]
async fn token_survives_an_outage_of_the_service() {
    const TEXT: &str = "the token service responded to token_url with status 500: retry later";
    let service = Service::start().await;
    let setup = service.setup("").await;
    let token = setup.token().await.access_token();
    service.can(vec![(500, String::new()); 200]);
    let mut failures = 0;
    let mut now = 0;
    while now < 7300 {
        // A longer step would be a suspend of the machine, after which earlier failures do not count.
        setup.clock.advance(Duration::from_secs(67));
        now += 67;
        failures += 1;
        service.arrived(1 + failures).await;
        let failed = format!("wxsub_token_fetches_total{{appid=\"wx1\",result=\"failed\"}} {failures}\n");
        until(async || setup.metrics().await.contains(&failed)).await;
        let served = setup.token().await;
        if now < 7000 {
            assert_eq!((served.status, served.access_token()), (200, token.clone()));
            has(&setup.app().await, &json!({"state": "degraded", "error": {"text": TEXT}}));
        }
        if (241..7000).contains(&now) {
            assert_eq!(served.json()["expires_in"], 60);
        }
    }
    has(&setup.app().await, &json!({"state": "down", "error": {"text": TEXT}}));
    assert_eq!(setup.token().await.status, 503);
}

#[tokio::test]
async fn token_that_weixin_rejects_is_reported_and_the_message_sent_with_another() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    let old = setup.token().await.access_token();
    setup.invalidate_tokens();
    setup.allow("oUser", 1);
    assert_eq!(setup.send(message("oUser", 1)).await.status, 200);
    assert_eq!(service.seen(), [GET, REPORT, GET]);
    let reported: Value = serde_json::from_str(&service.requests.borrow()[1].1).unwrap();
    assert_eq!(reported, json!({"access_token": old}));
    assert_ne!(setup.token().await.access_token(), old);
}

/// Without `report_url`, the service is asked again, and its rejected token is never served.
#[tokio::test]
async fn rejected_token_that_the_service_returns_again_is_not_served() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    setup.token().await;
    setup.invalidate_tokens();
    setup.allow("oUser", 1);
    setup.send(message("oUser", 1)).await.has(503, &json!({"outcome": "not_sent"}));
    assert_eq!(setup.token().await.status, 503);
    assert_eq!(service.seen(), [GET, GET]);
    let new = service.rotate();
    // The next attempt is due within 10 s.
    setup.clock.advance(Duration::from_secs(13));
    service.arrived(3).await;
    until(async || setup.token().await.status == 200).await;
    assert_eq!(setup.token().await.access_token(), new);
}

/// A report of a client reaches the service only if Weixin confirms it.
#[tokio::test]
async fn reported_token_is_checked_before_the_service_hears_of_it() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    let token = setup.token().await.access_token();
    setup.report(&token).await.is(503, "no_token");
    assert_eq!((service.seen(), setup.seen(PROBE)), (vec![GET.to_owned(); 2], 1));
    assert_eq!(setup.token().await.access_token(), token);
    setup.clock.advance(Duration::from_secs(20));
    setup.invalidate_tokens();
    let other = setup.report(&token).await;
    assert_eq!(other.status, 200, "{other:?}");
    assert_ne!(other.access_token(), token);
    assert_eq!(service.seen(), [GET, GET, GET, REPORT, GET]);
}

/// If the service has another token already, a report costs neither a check nor a report to the service.
#[tokio::test]
async fn report_gets_the_newer_token_of_the_service() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    let old = setup.token().await.access_token();
    let new = service.rotate();
    assert_eq!(setup.report(&old).await.access_token(), new);
    assert_eq!((service.seen(), setup.seen(PROBE)), (vec![GET.to_owned(); 2], 0));
}

#[tokio::test]
async fn failed_report_matters_only_if_the_token_is_the_same() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    setup.token().await;
    setup.invalidate_tokens();
    service.can([(403, String::new())]);
    setup.allow("oUser", 1);
    assert_eq!(setup.send(message("oUser", 1)).await.status, 503);
    let expected = "the token service responded to report_url with status 403: check token_url_header_file";
    has(&setup.app().await, &json!({"error": {"text": expected}}));

    let setup = service.setup(&service.report_url()).await;
    setup.token().await;
    setup.invalidate_tokens();
    let new = service.rotate();
    service.can([(500, String::new())]);
    setup.allow("oUser", 1);
    assert_eq!(setup.send(message("oUser", 1)).await.status, 200);
    assert_eq!(setup.token().await.access_token(), new);
}

/// A token is requested although the service does not respond to the report.
#[tokio::test]
async fn hanging_report_leaves_time_for_the_token() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    setup.token().await;
    setup.invalidate_tokens();
    let (new, before) = (service.rotate(), service.seen().len());
    service.can([(HANG, String::new())]);
    setup.allow("oUser", 1);
    let report_hangs = async {
        service.arrived(before + 1).await;
        setup.pass(5).await;
    };
    let (sent, ()) = futures_util::future::join(setup.send(message("oUser", 1)), report_hangs).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(
        (setup.token().await.access_token(), &service.seen()[before..]),
        (new, &[REPORT.to_owned(), GET.to_owned()][..])
    );
}

#[tokio::test]
async fn pointers_find_token_and_lifetime() {
    let service = Service::start().await;
    let pointers = "token_pointer = \"/data/0/token\"\nexpires_in_pointer = \"/data/0/ttl\"";
    let setup = service.setup(pointers).await;
    service.can([(201, json!({"errcode": "OK", "data": [{"token": "T", "ttl": "100"}]}).to_string())]);
    let served = setup.token().await;
    assert_eq!((served.access_token().as_str(), &served.json()["expires_in"]), ("T", &json!(100)));
}

/// Each is an error that says what to correct. None has the secret, and none is a token.
#[tokio::test]
async fn odd_response_is_an_error_without_secrets() {
    let (retry_later, fix_config) = (json!("retry_later"), json!("fix_config"));
    let pointers = "correct token_pointer /access_token or expires_in_pointer /expires_in";
    let missing = |what: &str| format!("invalid response of the token service: {what}; {pointers}");
    let out_of_range =
        |key: &str| missing(&format!("{key} in the response is out of range or of the wrong type"));
    let not_json = "the response of the token service is not JSON; retry later".to_owned();
    let status = |status: u16, advice: &str| {
        format!("the token service responded to token_url with status {status}: {advice}")
    };
    let secret = r#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7 key PLANTED-service-secret"}"#;
    let rows = [
        (500, "", status(500, "retry later"), &retry_later),
        (429, "", status(429, "retry later"), &retry_later),
        (302, "", status(302, "a redirect, which is not followed; correct the URL"), &fix_config),
        (401, "", status(401, "check token_url_header_file"), &fix_config),
        (404, "", status(404, "correct the URL"), &fix_config),
        (200, "<html>", not_json.clone(), &retry_later),
        (200, "", not_json, &retry_later),
        (
            200,
            r#"{"access_token":"PLANTED"}"#,
            missing("expires_in is missing from the response"),
            &fix_config,
        ),
        (200, r#"{"expires_in":7200}"#, missing("access_token is missing from the response"), &fix_config),
        (200, "[]", missing("access_token is missing from the response"), &fix_config),
        (200, r#"{"access_token":"PLANTED","expires_in":0}"#, out_of_range("expires_in"), &fix_config),
        (200, r#"{"access_token":"PLANTED","expires_in":"soon"}"#, out_of_range("expires_in"), &fix_config),
        (200, r#"{"access_token":7,"expires_in":7200}"#, out_of_range("access_token"), &fix_config),
        (200, secret, "40164".to_owned(), &json!("allow_ip")),
        (200, &" ".repeat(65 * 1024), "at most 65536 bytes".to_owned(), &retry_later),
    ];
    for (code, body, expected, remedy) in rows {
        let service = Service::start().await;
        let setup = Setup::in_real_time(service.config("")).await;
        // A few transient failures are retried at once.
        service.can(vec![(code, body.to_owned()); 10]);
        let response = setup.token().await.is(503, "no_token");
        let app = setup.app().await;
        assert!(app["error"]["text"].as_str().unwrap().contains(&expected), "{expected}: {app}");
        assert_eq!(&app["error"]["remedy"], remedy, "{app}");
        assert!(!format!("{response:?}{app}").contains("PLANTED"), "{response:?} {app}");
    }
}

/// A service decodes the query before it names what is wrong with it.
#[tokio::test]
async fn decoded_secret_of_the_query_is_not_shown() {
    let service = Service::start().await;
    let config = service.config_with_target("token?key=PLANTED%2Fservice%2Bsecret", "http://127.0.0.1:1", "");
    let setup = Setup::in_real_time(config).await;
    let refusal = r#"{"errcode":40125,"errmsg":"invalid key PLANTED/service+secret"}"#;
    service.can(vec![(200, refusal.to_owned()); 10]);
    let response = setup.token().await.is(503, "no_token");
    let app = setup.app().await;
    assert!(app["error"]["text"].as_str().unwrap().contains("invalid key"), "{app}");
    assert!(!format!("{response:?}{app}").contains("PLANTED"), "{response:?} {app}");
}

#[tokio::test]
async fn reload_to_a_service_and_back_changes_the_source() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    let first = setup.token().await.access_token();
    setup.server.reload(&service.config("")).unwrap();
    assert_eq!(setup.token().await.access_token(), first);
    assert_eq!(service.seen().len(), 1);
    setup.server.reload(&super::setup::config(&client('a', "\"wx1\"", ALL))).unwrap();
    assert_ne!(setup.token().await.access_token(), first);
    assert_eq!(service.seen().len(), 1);
}

/// Its settings and those of the sends may change. The service is asked as before.
#[tokio::test]
async fn reload_keeps_the_token_of_the_same_service() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    let token = setup.token().await;
    service.rotate();
    for changed in [
        service.config_with_base("http://127.0.0.1:2", ""),
        service.config("token_pointer = \"/access_token\"\nproxy = \"http://127.0.0.1:3\""),
        service.config(&service.report_url()),
    ] {
        setup.server.reload(&changed).unwrap();
        setup.server.prefetch_tokens();
        setup.pass(0).await;
        let kept = setup.token().await;
        assert_eq!(kept.access_token(), token.access_token());
        assert_eq!(kept.json()["generation"], token.json()["generation"]);
    }
    assert_eq!(service.seen(), [GET]);
    // The rejected token goes to the report_url of the last configuration.
    setup.invalidate_tokens();
    setup.allow("oUser", 1);
    assert_eq!(setup.send(message("oUser", 1)).await.status, 200);
    assert_eq!(service.seen(), [GET, REPORT, GET]);
}

/// A service returns the same token again and again, so a success is no new token.
#[tokio::test]
async fn failing_since_is_when_the_service_began_to_fail() {
    let service = Service::start().await;
    let setup = service.setup("").await;
    setup.token().await;
    let mut fetched = 1;
    let mut poll = async |status: u16| {
        service.can((status != 200).then(|| (status, String::new())));
        setup.clock.advance(Duration::from_secs(400));
        fetched += 1;
        service.arrived(fetched).await;
        let app = async || setup.get("/v1/apps", &key('a')).await.json()["apps"][0].clone();
        until(async || app().await.get("error").is_none() == (status == 200)).await;
        app().await["error"]["since"].clone()
    };
    poll(500).await;
    poll(200).await;
    let now = setup.sandbox.now() + Duration::from_secs(400);
    let since = poll(500).await;
    let expected = wxsub_core::clock::UnixMillis::default() + now;
    assert_eq!(since, wxsub_core::rfc3339::format(expected));
}

#[tokio::test]
async fn errors_name_the_service_that_did_not_respond_as_expected() {
    let service = Service::start().await;
    let setup = service.setup(&service.report_url()).await;
    let token = setup.token().await.access_token();
    let refused = setup.report(&token).await;
    let text = "the token service returned the reported token as the current one";
    assert!(refused.text.contains(text), "{refused:?}");

    let unreachable = Service::at(1);
    let setup = Setup::in_real_time(unreachable.config("")).await;
    let response = setup.token().await;
    assert!(response.text.contains("the token service: no connection; check"), "{response:?}");
    assert!(!response.text.contains("os error"), "{response:?}");
    let error = setup.get("/v1/apps", &key('a')).await.json()["apps"][0]["error"].clone();
    assert!(error["text"].as_str().unwrap().starts_with("the token service: no connection"), "{error}");
    assert!(error["text_zh"].as_str().unwrap().starts_with("token 服务：无法连接"), "{error}");
}

#[test]
fn each_problem_of_a_token_service_names_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("{path:?}")
    };
    let url = "token_url = \"https://tokens.example/wx1\"\n";
    let found = |lines: &str| {
        let app = "[[apps]]\nappid = \"wx0123456789abcdef\"\napi_base = \"http://127.0.0.1:1\"";
        let error = read_config(&format!("{app}\n{lines}")).unwrap_err();
        assert!(!error.contains("PLANTED"));
        error
    };
    let header = |content: &str| format!("{url}token_url_header_file = {}", file("header", content));
    let one_line = "token_url_header_file: names a file that must have one line with a header";
    for (lines, expected) in [
        ("token_url = \"tokens.example\"".to_owned(), "token_url: must be a URL with a host"),
        ("token_url = \"http://tokens.example/\"".to_owned(), "token_url: uses http://"),
        ("token_url = \"https://u:PLANTED@tokens.example/\"".to_owned(), "token_url: must be"),
        (format!("{url}secret_env = \"S\""), "secret_env: is set together with token_url"),
        (format!("{url}secret_file = \"/s\""), "secret_file: is set together with token_url"),
        (format!("{url}token_endpoint = \"token\""), "token_endpoint: is set together with token_url"),
        (format!("{url}report_url = \"http://tokens.example/\""), "report_url: uses http://"),
        (format!("{url}token_pointer = \"access_token\""), "token_pointer: must be a JSON pointer"),
        (format!("{url}expires_in_pointer = 1"), "expires_in_pointer: must be text"),
        (format!("{url}token_ca_file = \"/nowhere\""), "token_ca_file: names a file that cannot be read"),
        (format!("{url}token_url_header_file = \"/nowhere\""), "token_url_header_file: names a file"),
        (header("PLANTED"), one_line),
        (header("A b: PLANTED"), one_line),
        (header("Host: PLANTED"), one_line),
        (header("X-A: 1\nX-B: PLANTED"), one_line),
        ("report_url = \"https://t.example\"".to_owned(), "report_url: has an effect only with token_url"),
    ] {
        let error = found(&lines);
        assert!(error.contains(&format!("apps[0].{expected}")), "{expected}: {error}");
    }
}
