//! Calls of a control server: what each response, or its absence, means.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_client::{ControlServer, ControlServerError, SendStatus};
use wxsub_core::error::Delivery;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::transport::{HttpRequest, TransportError, TransportErrorKind};
use wxsub_proto::codec::RawResponse;
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

/// A client of a server that gives this response to the path.
fn server(path: &str, response: MockResponse) -> (ControlServer, Arc<MockTransport>, Arc<ManualClock>) {
    let (clock, network) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    network.respond_always(path, response);
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let server = ControlServer::new(base, KEY.parse().unwrap(), network.clone()).clock(clock.clone());
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
        (response(503, r#"{"kind":"overloaded"}"#), SendStatus::NotSent, NotSent, Remedy::RetryLater),
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
    let server = server.timeout(Duration::from_secs(5));
    let (appid, message) = (appid(), message());
    let (outcome, ()) =
        tokio::join!(server.send(&appid, &message), clock.advance_and_run(Duration::from_secs(6)));
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
        response.retry_after = Some(Duration::from_secs(7));
        Ok::<_, TransportError>(response)
    };
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let server = ControlServer::new(base, KEY.parse().unwrap(), transport);
    let error = server.send(&appid(), &message()).await.unwrap_err();
    assert_eq!((error.retry_after(), error.remedy()), (Some(Duration::from_secs(7)), Remedy::SlowDown));
}

#[tokio::test]
async fn token_has_lifetime_and_generation_of_the_server() {
    let (server, network, _) =
        server(READ, MockResponse::json(r#"{"access_token":"A","expires_in":3840,"generation":10}"#));
    let token = server.token(&appid()).await.unwrap();
    assert_eq!((token.token().expose_secret(), token.generation().get()), ("A", 10));
    assert_eq!(token.lifetime(), Duration::from_secs(3840));
    assert_eq!(network.seen().first().unwrap().method, "GET");
    network.respond_always(
        REPORT,
        MockResponse::json(r#"{"access_token":"B","expires_in":60,"generation":11}"#),
    );
    let replacement = server.report_token(&appid(), token.token()).await.unwrap();
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
        (response(403, "no"), false, Remedy::FixConfig, "responded with 403"),
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

#[tokio::test]
async fn apps_are_listed_with_their_health() {
    let apps = r#"{"apps":[{"appid":"wx1","state":"down","token_endpoint":"token","suspect":false,"in_doubt":false}]}"#;
    let (server, ..) = server("/v1/apps", MockResponse::json(apps));
    let list = server.apps().await.unwrap();
    assert_eq!(list.apps.iter().map(|app| app.appid.as_str()).collect::<Vec<_>>(), ["wx1"]);
}
