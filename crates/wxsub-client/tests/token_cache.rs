//! A token cache that gets its tokens from a control server.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use wxsub_client::ControlServer;
use wxsub_core::Client;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{Evidence, TokenCache, TokenErrorKind, TokenEvent, TokenSource};
use wxsub_proto::{Grant, Message, Remedy};

const READ: &str = "/v1/apps/wx1/access_token";
const REPORT: &str = "/v1/apps/wx1/access_token/report";
const SEND: &str = "/cgi-bin/message/template/subscribe";
const KEY: &str = "PLANTEDabcdefghijklmnopqrstuvwxyz0123456789";

struct Bench {
    clock: Arc<ManualClock>,
    network: Arc<MockTransport>,
    tokens: TokenCache,
    events: Arc<Mutex<Vec<TokenEvent>>>,
}

fn bench() -> Bench {
    let (clock, network) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let server = ControlServer::new(base, KEY.parse().unwrap(), network.clone()).clock(clock.clone());
    let events = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&events);
    let tokens = server
        .token_cache("wx1".parse().unwrap())
        .jitter_seed(7)
        .on_event(move |event| observer.lock().unwrap().push(event.clone()))
        .build();
    Bench { clock, network, tokens, events }
}

fn token(text: &str, expires_in: u64, generation: u64) -> MockResponse {
    MockResponse::json(&format!(
        r#"{{"access_token":"{text}","expires_in":{expires_in},"generation":{generation}}}"#
    ))
}

fn problem(status: u16, json: &'static str) -> MockResponse {
    MockResponse::Response(status, Bytes::from_static(json.as_bytes()))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn message() -> Message {
    let grant = Grant::assume_verified("o", "T", 7).unwrap();
    Message::builder(grant).title("Title").content("Text").build().unwrap()
}

#[tokio::test]
async fn token_is_refreshed_ahead_of_expiry() {
    let bench = bench();
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
    let bench = bench();
    bench.network.respond_always(READ, token("A", 3840, 10));
    bench.network.respond_always(REPORT, token("B", 3840, 20));
    bench.network.respond_once(SEND, MockResponse::json(r#"{"errcode":40001,"errmsg":"stale"}"#));
    bench.network.respond_always(SEND, MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#));
    let client = Client::with_token_source(bench.tokens.clone(), bench.network.clone())
        .clock(bench.clock.clone())
        .build();
    client.send(&message()).await.unwrap();
    assert_eq!(
        (bench.network.count(READ), bench.network.count(REPORT), bench.network.count(SEND)),
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
    let bench = bench();
    bench.network.respond_always(READ, token("A", 3840, 10));
    bench.network.respond_always(REPORT, token("A", 3840, 10));
    let generation = bench.tokens.token().await.unwrap().generation();
    let error = bench.tokens.refresh(generation, Evidence::Observed).await.unwrap_err();
    assert_eq!(error.kind(), &TokenErrorKind::RejectedTokenReissued);
    assert_eq!(bench.network.count(REPORT), 1);
}

#[tokio::test]
async fn server_restart_keeps_current_token() {
    let bench = bench();
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
    for (response, remedy, text) in [
        (
            problem(401, r#"{"kind":"unauthorized","detail":"no known key"}"#),
            Remedy::FixConfig,
            "no known key",
        ),
        (problem(403, "{}"), Remedy::FixConfig, "responded with 403"),
        (problem(429, r#"{"detail":"slower"}"#), Remedy::SlowDown, "slower"),
        (problem(503, r#"{"detail":"no token","remedy":"allow_ip"}"#), Remedy::AllowIp, "no token"),
        (problem(502, "<html>"), Remedy::RetryLater, "responded with 502"),
        (problem(200, "<html>"), Remedy::FixConfig, "response is invalid"),
    ] {
        let bench = bench();
        bench.network.respond_always(READ, response);
        let request = tokio::spawn({
            let tokens = bench.tokens.clone();
            async move { tokens.token().await.unwrap_err() }
        });
        bench.clock.advance_and_run(seconds(5)).await;
        let error = request.await.unwrap();
        assert!(error.remedy() == remedy && error.to_string().contains(text), "{error}");
        assert!(!format!("{error:?} {:?}", bench.tokens).contains(KEY));
    }
}
