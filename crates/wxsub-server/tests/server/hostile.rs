//! Invalid and hostile input: uniform responses, bounded work, no upstream requests.

use serde_json::json;

use super::outbox::post;
use super::setup::{SEND, STABLE, Setup, TOKEN, key, message, subscribe, until, usual};

#[tokio::test]
async fn body_beyond_the_limit_is_rejected() {
    let setup = Setup::new(&usual()).await;
    let token = setup.token().await.access_token();
    for size in [65_537, 8 << 20] {
        let response = setup.send("x".repeat(size)).await;
        response.has(413, &json!({"kind": "too_large", "outcome": "not_sent"}));
        assert_eq!(subscribe(&setup, &token, "x".repeat(size)).await.errcode(), 45002);
        assert_eq!(setup.ask("POST", STABLE, None, "x".repeat(size)).await.errcode(), 45002);
    }
    assert_eq!((setup.seen(TOKEN), setup.seen(SEND)), (1, 0));
}

#[tokio::test]
async fn deep_and_odd_json_is_rejected() {
    let setup = Setup::new(&usual()).await;
    let token = setup.token().await.access_token();
    let nested = |count: usize| "[".repeat(count) + &"]".repeat(count);
    for body in [
        nested(30_000),
        "[".repeat(60_000),
        "{\"a\":".repeat(10_000),
        "\u{feff}{}".to_owned(),
        "NaN".to_owned(),
    ] {
        assert_eq!(setup.send(body.clone()).await.status, 400);
        post(&setup, "access_token/report", &[], body.clone()).await.is(400, "not_json");
        assert_eq!(subscribe(&setup, &token, body.clone()).await.errcode(), 47001);
        // A body without a known key may have 4096 bytes.
        let errcode = if body.len() > 4096 { 45002 } else { 47001 };
        assert_eq!(setup.ask("POST", STABLE, None, body).await.errcode(), errcode);
    }
}

#[tokio::test]
async fn odd_paths_are_not_found() {
    let setup = Setup::new(&usual()).await;
    for app in ["..%2fwx1", "wx1%00", "%77x2", "wx1%0d%0aX", "wx1%2f..", "%ff", "*", &"w".repeat(5000)] {
        setup.get(&format!("/v1/apps/{app}/access_token"), &key('a')).await.is(403, "forbidden");
    }
    for target in
        ["/v1", "/v1/", "/v1/apps/", "/v1/apps//access_token", "/v1/apps/wx1/../wx2/access_token", "/v1/x"]
    {
        let response = setup.get(target, &key('a')).await;
        assert!([403, 404].contains(&response.status), "{target}: {response:?}");
    }
    // The encoded AppID is the same app.
    assert_eq!(setup.get("/v1/apps/%77x1/access_token", &key('a')).await.status, 200);
    for (method, target) in [
        ("DELETE", "/v1/apps"),
        ("PUT", "/v1/apps/wx1/messages"),
        ("GET", "/v1/apps/wx1/access_token/report"),
    ] {
        let response = setup.ask(method, target, Some(&key('a')), "").await.is(405, "method_not_allowed");
        let allowed = if target == "/v1/apps" { "GET" } else { "POST" };
        assert_eq!(response.headers["allow"], allowed);
        assert_eq!(response.headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn untrusted_text_starts_no_log_line() {
    let setup = Setup::new(&usual()).await;
    for title in ["a\\r\\nX: y", "a\\u001b[2J", "a\\u0000"] {
        let response = setup.send(message("oUser", 1).replace("Parcel", title)).await;
        assert_eq!((response.status, response.json()["problems"][0]["field"].as_str()), (422, Some("title")));
        assert!(!response.text.contains(['\r', '\u{1b}', '\0']), "{response:?}");
    }
    let twice = message("oUser", 1).replace("\"title\"", "\"touser\":\"o2\",\"title\"");
    assert_eq!(setup.send(twice).await.status, 400);
    assert_eq!(setup.seen(SEND), 0);
}

#[tokio::test]
async fn request_beyond_the_limit_is_overloaded() {
    let setup = Setup::new(&(usual() + "[limits]\nin_flight = 1\n")).await;
    setup.sandbox.add_fault(TOKEN, 99, wxsub_sandbox::Fault::Hang);
    let refused = async {
        until(async || setup.metrics().await.contains("wxsub_limit_used{limit=\"in_flight\"} 1\n")).await;
        let (native, classic) = (setup.token().await, setup.classic(&key('a')).await);
        let stable = setup.stable(&key('a'), false).await;
        (native, classic, stable, setup.send(message("oUser", 1)).await)
    };
    let (first, refused) = futures_util::future::join(setup.meanwhile(setup.token()), refused).await;
    let (native, classic, stable, message) = refused;
    assert_eq!(first.status, 503);
    assert_eq!(native.is(503, "overloaded").retry_after(), 1);
    assert_eq!((classic.errcode(), stable.errcode()), (-1, -1));
    message.has(503, &json!({"outcome": "not_sent"}));
    assert_eq!(setup.ask("GET", "/livez", None, "").await.status, 200);
}
