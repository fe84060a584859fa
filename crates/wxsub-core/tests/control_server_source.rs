//! A token source that gets its tokens from a control server.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_core::Client;
use wxsub_core::proto::{Grant, Message, Remedy};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{ApiKey, Evidence, TokenCache, TokenErrorKind, TokenSource};

const READ: &str = "/v1/apps/wx1/access_token";
const REPORT: &str = "/v1/apps/wx1/access_token/report";
const SEND: &str = "/cgi-bin/message/template/subscribe";
const KEY: &str = "PLANTEDabcdefghijklmnopqrstuvwxyz0123456789";

struct Bench {
    clock: Arc<ManualClock>,
    wire: Arc<MockTransport>,
    keeper: TokenCache,
}

fn bench() -> Bench {
    let (clock, wire) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    let (app, key) = ("wx1".parse().unwrap(), KEY.parse().unwrap());
    let base = "http://127.0.0.1:8460".parse().unwrap();
    let keeper = TokenCache::from_control_server(app, key, base, wire.clone())
        .clock(clock.clone())
        .jitter_seed(7)
        .build();
    Bench { clock, wire, keeper }
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
    bench.wire.respond_once(READ, token("A", 3840, 10));
    bench.wire.respond_always(READ, token("B", 3840, 20));
    for _ in 0..100 {
        assert_eq!(bench.keeper.token().await.unwrap().generation().get(), 10);
    }
    bench.clock.advance_and_run(seconds(3500)).await;
    assert_eq!(bench.wire.count(READ), 1);
    bench.clock.advance_and_run(seconds(60)).await;
    // The generation of the server.
    assert_eq!(bench.keeper.current().get().unwrap().generation().get(), 20);
    assert_eq!(bench.wire.count(READ), 2);
}

#[tokio::test]
async fn rejected_token_is_reported_and_message_replayed() {
    let bench = bench();
    bench.wire.respond_always(READ, token("A", 3840, 10));
    bench.wire.respond_always(REPORT, token("B", 3840, 20));
    bench.wire.respond_once(SEND, MockResponse::json(r#"{"errcode":40001,"errmsg":"stale"}"#));
    bench.wire.respond_always(SEND, MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#));
    let client = Client::with_token_source(bench.keeper.clone(), bench.wire.clone())
        .clock(bench.clock.clone())
        .build();
    client.send(&message()).await.unwrap();
    assert_eq!((bench.wire.count(READ), bench.wire.count(REPORT), bench.wire.count(SEND)), (1, 1, 2));
    let seen = bench.wire.seen();
    let report = seen.iter().find(|seen| seen.path == REPORT).unwrap();
    assert_eq!(report.body, Bytes::from_static(br#"{"access_token":"A"}"#));
    // A token is reported only once.
    bench.clock.advance_and_run(seconds(3700)).await;
    assert_eq!(bench.wire.count(REPORT), 1);
}

#[tokio::test]
async fn unchanged_token_after_report_is_an_error() {
    let bench = bench();
    bench.wire.respond_always(READ, token("A", 3840, 10));
    bench.wire.respond_always(REPORT, token("A", 3840, 10));
    let held = bench.keeper.token().await.unwrap().generation();
    let error = bench.keeper.refresh(held, Evidence::Observed).await.unwrap_err();
    assert_eq!(error.kind(), &TokenErrorKind::RejectedTokenReissued);
    assert_eq!(bench.wire.count(REPORT), 1);
}

#[tokio::test]
async fn server_restart_keeps_current_token() {
    let bench = bench();
    bench.wire.respond_once(READ, token("A", 600, 10));
    for _ in 0..15 {
        bench.wire.respond_once(READ, MockResponse::refuse_connection());
    }
    bench.wire.respond_always(READ, token("B", 3840, 20));
    bench.keeper.token().await.unwrap();
    for _ in 0..60 {
        bench.clock.advance_and_run(seconds(10)).await;
        assert!(bench.keeper.current().get().is_some());
    }
    assert_eq!(bench.keeper.current().get().unwrap().generation().get(), 20);
}

#[tokio::test]
async fn server_problem_is_part_of_the_error() {
    for (step, remedy, said) in [
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
        bench.wire.respond_always(READ, step);
        let asking = tokio::spawn({
            let keeper = bench.keeper.clone();
            async move { keeper.token().await.unwrap_err() }
        });
        bench.clock.advance_and_run(seconds(5)).await;
        let error = asking.await.unwrap();
        assert!(error.remedy() == remedy && error.to_string().contains(said), "{error}");
        assert!(!format!("{error:?} {:?}", bench.keeper).contains(KEY));
    }
}

#[test]
fn api_key_has_43_characters_and_is_redacted() {
    let key = ApiKey::new(KEY).unwrap();
    assert_eq!((key.expose_secret(), format!("{key:?}").as_str()), (KEY, "ApiKey(***)"));
    for bad in ["", "short", &KEY.replace('a', "-"), &format!("{KEY}x")] {
        let error = ApiKey::new(bad).unwrap_err().to_string();
        assert!(error.starts_with("key: ") && (bad.is_empty() || !error.contains(bad)), "{error}");
    }
}
