//! Calls of a control server: what each response, or its absence, means. A token cache that fetches from it.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use wxsub_client::{ControlServer, ControlServerError, Schedule, SendStatus};
use wxsub_core::Client;
use wxsub_core::error::Delivery;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{Evidence, TokenCache, TokenEvent, TokenSource};
use wxsub_core::transport::{HttpRequest, TransportError, TransportErrorKind};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::endpoint::subscribe::PATH as SUBSCRIBE;
use wxsub_proto::{AppId, Grant, Message, Remedy};

const KEY: &str = "PLANTEDabcdefghijklmnopqrstuvwxyz0123456789";
const READ: &str = "/v1/apps/wx1/access_token";
const REPORT: &str = "/v1/apps/wx1/access_token/report";
const SEND: &str = "/v1/apps/wx1/messages";

fn appid() -> AppId {
    "wx1".parse().unwrap()
}

fn message() -> Message {
    let grant = Grant::assume_verified("o", "T", 7).unwrap();
    Message::builder(grant).title("Title").content("Text").build().unwrap()
}

fn client() -> (ControlServer, MockTransport, Arc<ManualClock>) {
    let (clock, network) = (Arc::new(ManualClock::new()), MockTransport::new());
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let server = ControlServer::new(base, KEY.parse().unwrap(), network.clone()).clock(clock.clone());
    (server, network, clock)
}

/// A client of a server that gives this response to the path.
fn server(path: &str, response: MockResponse) -> (ControlServer, MockTransport, Arc<ManualClock>) {
    let (server, network, clock) = client();
    network.respond_always(path, response);
    (server, network, clock)
}

fn response(status: u16, body: &'static str) -> MockResponse {
    MockResponse::Response(status, Bytes::from_static(body.as_bytes()))
}

fn misconfigured() -> MockResponse {
    MockResponse::Fail(TransportError::before_sending(TransportErrorKind::Certificate, "expired"))
}

#[tokio::test]
async fn sent_message_is_posted_once_as_it_is() {
    let (server, network, _) = server(SEND, response(200, r#"{"outcome":"sent","touser":"o"}"#));
    server.send(&appid(), &message()).await.unwrap();
    let seen = network.seen();
    let [request] = &*seen else { panic!("{seen:?}") };
    assert_eq!((request.method.as_str(), &*request.body), ("POST", &*message().to_json()));
}

/// What each response to a message says of it.
#[tokio::test]
async fn response_to_a_message_gives_delivery_and_remedy() {
    use Delivery::{MaybeSent, NotSent, Rejected};
    for (response, outcome, delivery, remedy) in [
        (
            response(
                422,
                r#"{"outcome":"refused","errcode":43101,"errmsg":"no","remedy":"stop","stage":"send"}"#,
            ),
            SendStatus::Refused,
            Rejected,
            Remedy::Stop,
        ),
        (
            response(
                503,
                r#"{"outcome":"not_sent","errcode":40164,"errmsg":"ip","remedy":"allow_ip","stage":"token"}"#,
            ),
            SendStatus::NotSent,
            NotSent,
            Remedy::AllowIp,
        ),
        (response(422, r#"{"outcome":"invalid"}"#), SendStatus::Invalid, NotSent, Remedy::FixRequest),
        (response(401, r#"{"kind":"unauthorized"}"#), SendStatus::NotSent, NotSent, Remedy::FixConfig),
        (response(503, r#"{"kind":"overloaded"}"#), SendStatus::NotSent, NotSent, Remedy::SlowDown),
        (
            response(504, r#"{"outcome":"maybe_sent","remedy":"investigate"}"#),
            SendStatus::MaybeSent,
            MaybeSent,
            Remedy::Investigate,
        ),
        // Not a response of a control server, or one that contradicts itself.
        (response(200, "<html>"), SendStatus::MaybeSent, MaybeSent, Remedy::Investigate),
        (response(502, "bad gateway"), SendStatus::MaybeSent, MaybeSent, Remedy::Investigate),
        (response(200, r#"{"outcome":"refused"}"#), SendStatus::MaybeSent, MaybeSent, Remedy::Investigate),
        // No response.
        (MockResponse::refuse_connection(), SendStatus::NotSent, NotSent, Remedy::RetryLater),
        (MockResponse::lose_response(), SendStatus::MaybeSent, MaybeSent, Remedy::Investigate),
    ] {
        let (server, network, _) = server(SEND, response.clone());
        let error = server.send(&appid(), &message()).await.unwrap_err();
        let found = (error.result().outcome, error.delivery(), error.remedy());
        assert_eq!(found, (outcome, delivery, remedy), "{response:?}: {error}");
        assert_eq!(error.result().touser, Some("o".parse().unwrap()));
        assert_eq!(network.count(SEND), 1);
        assert!(!format!("{error} {error:?} {server:?}").contains(KEY));
    }
}

#[tokio::test]
async fn message_without_response_in_time_is_maybe_sent() {
    let (server, _, clock) = server(SEND, MockResponse::Hang);
    let server = server.timeout(seconds(5));
    let (appid, message) = (appid(), message());
    let (outcome, ()) = tokio::join!(server.send(&appid, &message), clock.advance_and_run(seconds(6)));
    let error = outcome.unwrap_err();
    assert_eq!(error.delivery(), Delivery::MaybeSent);
    assert!(matches!(error.error(), ControlServerError::Timeout));
    assert_eq!(
        error.to_string(),
        "the message may have been sent, do not blindly repeat it: the control server did not respond in time"
    );
}

#[tokio::test]
async fn delay_of_the_server_reaches_the_caller() {
    let transport = |_: HttpRequest| async {
        let mut response =
            RawResponse::new(503, Bytes::from_static(br#"{"outcome":"not_sent","remedy":"slow_down"}"#));
        response.retry_after = Some(seconds(7));
        Ok::<_, TransportError>(response)
    };
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let server = ControlServer::new(base, KEY.parse().unwrap(), transport);
    let error = server.send(&appid(), &message()).await.unwrap_err();
    assert_eq!((error.retry_after(), error.remedy()), (Some(seconds(7)), Remedy::SlowDown));
}

#[tokio::test]
async fn token_has_lifetime_and_generation_of_the_server() {
    let (server, network, _) = server(READ, token("A", 3840, 10));
    let first = server.token(&appid()).await.unwrap();
    assert_eq!((first.token().expose_secret(), first.generation().get()), ("A", 10));
    assert_eq!(first.lifetime(), seconds(3840));
    assert_eq!(network.seen().first().unwrap().method, "GET");
    network.respond_always(REPORT, token("B", 60, 11));
    let replacement = server.report_token(&appid(), first.token()).await.unwrap();
    assert_eq!(replacement.token().expose_secret(), "B");
    let seen = network.seen();
    assert_eq!(seen.last().unwrap().body, Bytes::from_static(br#"{"access_token":"A"}"#));
}

#[tokio::test]
async fn failed_token_call_has_effect_remedy_and_text() {
    for (response, may_have_taken_effect, remedy, text) in [
        (
            response(
                503,
                r#"{"kind":"no_token","detail":"no","errcode":40125,"errmsg":"bad secret","remedy":"fix_config"}"#,
            ),
            false,
            Remedy::FixConfig,
            "responded with 503: no",
        ),
        (response(429, r#"{"detail":"slow\u202edown"}"#), false, Remedy::SlowDown, "with 429: slow down"),
        (response(401, r#"{"detail":"no known key"}"#), false, Remedy::FixConfig, "no known key"),
        (response(403, "no"), false, Remedy::FixConfig, "responded with 403"),
        (response(502, "<html>"), true, Remedy::RetryLater, "responded with 502"),
        (response(200, "<html>"), true, Remedy::FixConfig, "response is invalid; check that the URL"),
        (MockResponse::refuse_connection(), false, Remedy::RetryLater, "was not reached"),
        (misconfigured(), false, Remedy::FixConfig, "was not reached"),
        (MockResponse::lose_response(), true, Remedy::RetryLater, "response was lost"),
    ] {
        let (server, ..) = server(READ, response);
        let error = server.token(&appid()).await.unwrap_err();
        assert_eq!(
            (error.may_have_taken_effect(), error.remedy()),
            (may_have_taken_effect, remedy),
            "{error}"
        );
        assert!(error.to_string().contains(text), "{error}");
        let errcode = error.api_error().map(|api_error| api_error.errcode().get());
        assert_eq!(errcode, text.ends_with("503: no").then_some(40125));
    }
}

/// A gateway that lost the server, a page of another program, and a server that does not know.
#[tokio::test]
async fn change_that_is_not_confirmed_may_have_taken_effect() {
    const UNRECORDED: &str = r#"{"kind":"ledger_unavailable","recorded":"unknown"}"#;
    let id = "01010101-0101-0101-0101-010101010101";
    for (status, body, expected) in [
        (504, "<html>", true),
        (502, r#"{"error":"bad gateway"}"#, true),
        (200, "<html>", true),
        (503, UNRECORDED, true),
        (504, r#"{"kind":"maybe_sent"}"#, true),
        (503, r#"{"kind":"ledger_unavailable"}"#, false),
        (503, r#"{"kind":"audit_unavailable"}"#, false),
        (503, r#"{"kind":"overloaded"}"#, false),
        (409, r#"{"kind":"attempting"}"#, false),
        (413, "<html>", false),
    ] {
        let (server, network, _) = client();
        let outbox = "/v1/apps/wx1/outbox";
        network.respond_always(outbox, response(status, body));
        network.respond_always(&format!("{outbox}/{id}"), response(status, body));
        let enqueued = server.enqueue(&appid(), &message(), Schedule::default(), None).await.unwrap_err();
        let cancelled = server.cancel(&appid(), id.parse().unwrap()).await.unwrap_err();
        let found = [enqueued.may_have_taken_effect(), cancelled.may_have_taken_effect()];
        assert_eq!(found, [expected; 2], "{status} {body}: {enqueued}; {cancelled}");
    }
}

/// A program that repeats what is to be corrected would never end.
#[tokio::test]
async fn remedy_of_a_problem_without_one_follows_from_its_kind() {
    for (status, kind, remedy) in [
        (422, "invalid", Remedy::FixRequest),
        (400, "key_required", Remedy::FixRequest),
        (412, "precondition_failed", Remedy::FixRequest),
        (409, "final", Remedy::Stop),
        (409, "attempting", Remedy::RetryLater),
        (404, "no_ledger", Remedy::FixConfig),
        (503, "ledger_unavailable", Remedy::RetryLater),
        (422, "of a newer server", Remedy::RetryLater),
        (404, "of a newer server", Remedy::FixConfig),
    ] {
        let (server, network, _) = client();
        let body = format!(r#"{{"kind":"{kind}"}}"#).into_bytes();
        network.respond_always("/v1/apps/wx1/outbox", MockResponse::Response(status, body.into()));
        let error = server.enqueue(&appid(), &message(), Schedule::default(), None).await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{status} {kind}");
    }
}

#[tokio::test]
async fn apps_are_listed_with_their_health() {
    let apps = r#"{"apps":[{"appid":"wx1","state":"down","token_endpoint":"token","suspect":false,"in_doubt":false}]}"#;
    let (server, ..) = server("/v1/apps", MockResponse::json(apps));
    let list = server.apps().await.unwrap();
    assert_eq!(list.apps.iter().map(|app| app.appid.as_str()).collect::<Vec<_>>(), ["wx1"]);
}

/// A token cache that fetches from a server.
struct Bench {
    clock: Arc<ManualClock>,
    network: MockTransport,
    tokens: TokenCache,
    events: Arc<Mutex<Vec<TokenEvent>>>,
}

impl Bench {
    fn new() -> Self {
        let (server, network, clock) = client();
        let events: Arc<Mutex<Vec<TokenEvent>>> = Arc::default();
        let observer = Arc::clone(&events);
        let tokens = server
            .token_cache(appid())
            .jitter_seed(7)
            .on_event(move |event| observer.lock().unwrap().push(event.clone()))
            .build();
        Self { clock, network, tokens, events }
    }
}

fn token(text: &str, expires_in: u64, generation: u64) -> MockResponse {
    MockResponse::json(&format!(
        r#"{{"access_token":"{text}","expires_in":{expires_in},"generation":{generation}}}"#
    ))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn token_is_refreshed_ahead_of_expiry() {
    let bench = Bench::new();
    bench.network.respond_once(READ, token("A", 3840, 10));
    bench.network.respond_always(READ, token("B", 3840, 20));
    for _ in 0..100 {
        assert_eq!(bench.tokens.token().await.unwrap().generation().get(), 10);
    }
    bench.clock.advance_and_run(seconds(3500)).await;
    assert_eq!(bench.network.count(READ), 1);
    bench.clock.advance_and_run(seconds(60)).await;
    // The generation of the server.
    assert_eq!(bench.tokens.current().get().unwrap().generation().get(), 20);
    assert_eq!(bench.network.count(READ), 2);
}

#[tokio::test]
async fn rejected_token_is_reported_and_message_replayed() {
    let bench = Bench::new();
    bench.network.respond_always(READ, token("A", 3840, 10));
    bench.network.respond_always(REPORT, token("B", 3840, 20));
    bench.network.respond_once(SUBSCRIBE, MockResponse::json(r#"{"errcode":40001,"errmsg":"stale"}"#));
    bench.network.respond_always(SUBSCRIBE, MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#));
    let client = Client::with_token_source(bench.tokens.clone(), bench.network.clone())
        .clock(bench.clock.clone())
        .build();
    client.send(&message()).await.unwrap();
    assert_eq!(
        (bench.network.count(READ), bench.network.count(REPORT), bench.network.count(SUBSCRIBE)),
        (1, 1, 2)
    );
    let seen = bench.network.seen();
    let report = seen.iter().find(|seen| seen.path == REPORT).unwrap();
    assert_eq!(report.body, Bytes::from_static(br#"{"access_token":"A"}"#));
    // A token is reported only once.
    bench.clock.advance_and_run(seconds(3700)).await;
    assert_eq!(bench.network.count(REPORT), 1);
    let events = bench.events.lock().unwrap();
    assert!(
        events.iter().any(|event| matches!(event, TokenEvent::InvalidatedExternally { .. })),
        "{events:?}"
    );
}

#[tokio::test]
async fn unchanged_token_after_report_is_an_error() {
    let bench = Bench::new();
    bench.network.respond_always(READ, token("A", 3840, 10));
    bench.network.respond_always(REPORT, token("A", 3840, 10));
    let generation = bench.tokens.token().await.unwrap().generation();
    let error = bench.tokens.refresh(generation, Evidence::Observed).await.unwrap_err();
    let text = "the control server returned the rejected token again; retry later";
    assert_eq!(error.kind().to_string(), text);
    assert_eq!(bench.network.count(REPORT), 1);
}

#[tokio::test]
async fn server_restart_keeps_current_token() {
    let bench = Bench::new();
    bench.network.respond_once(READ, token("A", 600, 10));
    for _ in 0..15 {
        bench.network.respond_once(READ, MockResponse::refuse_connection());
    }
    bench.network.respond_always(READ, token("B", 3840, 20));
    bench.tokens.token().await.unwrap();
    for _ in 0..60 {
        bench.clock.advance_and_run(seconds(10)).await;
        assert!(bench.tokens.current().get().is_some());
    }
    assert_eq!(bench.tokens.current().get().unwrap().generation().get(), 20);
}

#[tokio::test]
async fn server_problem_is_part_of_the_error() {
    let bench = Bench::new();
    bench.network.respond_always(READ, response(503, r#"{"detail":"no token","remedy":"allow_ip"}"#));
    let (outcome, ()) = tokio::join!(bench.tokens.token(), bench.clock.advance_and_run(seconds(5)));
    let error = outcome.unwrap_err();
    assert!(error.remedy() == Remedy::AllowIp && error.to_string().contains("no token"), "{error}");
    assert!(!format!("{error:?} {:?}", bench.tokens).contains(KEY));
}
