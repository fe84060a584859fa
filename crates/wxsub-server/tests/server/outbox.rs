//! The routes of consents, grants and the outbox.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};
use wxsub_sandbox::Fault;

use super::setup::{ALL, SEND, Setup, TestResponse, client, has, key, message, until};
use super::test_ledger;

pub(crate) const OUTBOX_SCOPES: &str = r#""outbox:write", "outbox:read", "outbox:decide", "consent""#;

/// The file of a signing key.
pub(crate) fn consent_key() -> &'static PathBuf {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("consent.key");
        std::fs::write(&path, [7; 32]).unwrap();
        path
    })
}

/// Client `a` with all scopes for both apps, client `b` for the second, a ledger and a signing key.
pub(crate) fn ledger_config() -> String {
    let scopes = format!("{ALL}, {OUTBOX_SCOPES}");
    let clients = client('a', "\"*\"", &scopes) + &client('b', "\"wx2\"", &scopes);
    format!("{clients}[ledger]\nurl = \"sqlite:/unused\"\n[consent]\nkey_file = {:?}\n", consent_key())
}

/// A POST to `…/outbox` of `wx1` by client `a`.
pub(crate) async fn enqueue(setup: &Setup, headers: &[(&str, &str)], body: String) -> TestResponse {
    post(setup, "outbox", headers, body).await
}

pub(crate) async fn post(setup: &Setup, path: &str, headers: &[(&str, &str)], body: String) -> TestResponse {
    let mut all = vec![("Authorization", format!("Bearer {}", key('a')))];
    all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    setup.ask_with("POST", &format!("/v1/apps/wx1/{path}"), &all, body).await
}

impl Setup {
    /// A GET of a path of `wx1` by client `a`.
    pub(crate) async fn read(&self, path: &str) -> TestResponse {
        self.get(&format!("/v1/apps/wx1/{path}"), &key('a')).await
    }

    pub(crate) async fn delete(&self, path: &str) -> TestResponse {
        self.ask("DELETE", &format!("/v1/apps/wx1/{path}"), Some(&key('a')), "").await
    }

    pub(crate) async fn until_received(&self, openid: &str, count: usize) {
        until(async || self.received(openid) >= count).await;
    }

    /// Waits until this message, which a response has, is in this state. Returns the message.
    pub(crate) async fn until_state(&self, message: &TestResponse, state: &str) -> TestResponse {
        let message = message.json();
        let (appid, id) = (message["appid"].as_str().unwrap_or("wx1"), message["id"].as_str().unwrap());
        self.until_state_of(appid, id, state).await
    }

    pub(crate) async fn until_state_of(&self, appid: &str, id: &str, state: &str) -> TestResponse {
        let shown = async || self.get(&format!("/v1/apps/{appid}/outbox/{id}"), &key('a')).await;
        until(async || shown().await.json()["state"] == state).await;
        shown().await
    }

    /// A message of `wx1` that may have been sent and can be decided: its id and its version.
    pub(crate) async fn undecided(&self, openid: &str) -> (String, String) {
        self.token().await;
        self.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
        let response = self.meanwhile(self.send(message(openid, 1))).await.is(504, "maybe_sent");
        self.pass(121).await;
        let shown = self.read(&format!("outbox/{}", response.id())).await;
        let shown = shown.has(200, &json!({"state": "maybe_sent"}));
        (response.id(), shown.headers["etag"].to_str().unwrap().to_owned())
    }
}

/// A request for consent.
fn asked() -> String {
    json!({"scene": 1, "template_id": "T", "session": "s", "redirect_url": "https://shop.example/back"})
        .to_string()
}

/// A message of this JSON with more members.
pub(crate) fn with(message: &str, more: &str) -> String {
    message.replacen('{', &format!("{{{more},"), 1)
}

/// A message that is due in years.
pub(crate) fn later(openid: &str) -> String {
    with(&message(openid, 1), r#""send_at":"2030-01-01T00:00:00Z""#)
}

#[tokio::test]
async fn the_consent_page_is_that_of_the_configuration() {
    for (line, page) in [
        ("", "https://mp.weixin.qq.com/mp/subscribemsg?"),
        ("mp_base = \"http://127.0.0.1:8459\"\n", "http://127.0.0.1:8459/mp/subscribemsg?"),
    ] {
        let (setup, _ledger) = Setup::with_ledger(&(ledger_config() + line)).await;
        let url = post(&setup, "consents", &[], asked()).await.json()["url"].clone();
        assert!(url.as_str().unwrap().starts_with(page), "{url}");
    }
}

#[tokio::test]
async fn a_consent_is_issued_verified_and_used_once() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let issue = async || post(&setup, "consents", &[], asked()).await.has(201, &json!({})).json();
    let issued = issue().await;
    let reserved = issued["reserved"].as_str().unwrap();
    assert!(issued["url"].as_str().unwrap().contains(reserved));
    has(&issued["mobile"], &json!({"scene": 1, "reserved": reserved}));
    assert!(issued["expires_at"].as_str().unwrap().ends_with('Z'));
    let callback = |action: &str, reserved: &Value| json!({"openid": "oUser", "template_id": "T", "scene": 1, "action": action, "reserved": reserved});
    let (confirmed, cancelled) =
        (callback("confirm", &issued["reserved"]), callback("cancel", &issued["reserved"]));
    let record = async |callback: &Value, session: &str| {
        let body = json!({"callback": callback, "session": session}).to_string();
        post(&setup, "grants", &[], body).await
    };
    record(&confirmed, "another").await.is(422, "consent_forged");
    let declined = record(&cancelled, "s").await;
    assert_eq!((declined.status, declined.json()), (200, json!({"outcome": "declined"})));
    let recorded = record(&confirmed, "s").await.has(201, &json!({"outcome": "recorded"}));
    let grant = recorded.json()["grant"].clone();
    let again = record(&confirmed, "s").await;
    assert_eq!((again.status, again.json()), (200, json!({"outcome": "already_recorded", "grant": grant})));
    let query = format!("openid=oUser&template_id=T&scene=1&action=confirm&reserved={reserved}");
    let url = json!(format!("https://shop.example/back?{query}"));
    record(&url, "s").await.has(200, &json!({"outcome": "already_recorded"}));
    let second = callback("confirm", &issue().await["reserved"]);
    let absorbed = record(&second, "s").await;
    assert_eq!((absorbed.status, absorbed.json()), (200, json!({"outcome": "absorbed", "grant": grant})));
    setup.pass(631).await;
    record(&confirmed, "s").await.is(422, "consent_expired");
    let listed = setup.read("grants?openid=oUser").await.json();
    assert_eq!(listed["grants"].as_array().unwrap().len(), 1);
    has(&listed["grants"][0], &json!({"id": grant, "state": "open"}));
}

#[tokio::test]
async fn a_grant_by_openid_needs_a_key_and_is_recorded_once() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let body = |openid: &str| json!({"openid": openid, "template_id": "T", "scene": 1}).to_string();
    post(&setup, "grants", &[], body("o")).await.is(400, "key_required");
    let keyed = [("Idempotency-Key", "k")];
    let recorded = post(&setup, "grants", &keyed, body("o")).await.has(201, &json!({}));
    let again = post(&setup, "grants", &keyed, body("o")).await;
    again.has(200, &json!({"outcome": "already_recorded"}));
    post(&setup, "grants", &keyed, body("other")).await.is(422, "key_reused");
    let path = format!("grants/{}", recorded.json()["grant"].as_str().unwrap());
    // A client of another app cannot void it.
    let foreign = path.replace("grants", "/v1/apps/wx2/grants");
    assert_eq!(setup.ask("DELETE", &foreign, Some(&key('b')), "").await.status, 404);
    assert_eq!(setup.delete(&path).await.status, 204);
    assert_eq!(setup.delete(&path).await.status, 404);
    assert_eq!(setup.read("grants?openid=o").await.json()["grants"][0]["state"], "void");
    assert_eq!(setup.read("grants").await.status, 422);
}

#[tokio::test]
async fn messages_are_listed_in_pages_shown_and_cancelled() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let paused = post(&setup, "outbox/pause", &[], json!({"note": "night"}).to_string()).await;
    let mut expected = json!({"appid": "wx1", "waiting_for": "paused", "paused_by": "a", "note": "night", "counts": {}, "undecided": 0});
    expected["paused_at"] = paused.json()["paused_at"].clone();
    assert_eq!((paused.status, paused.json()), (200, expected));
    let mut ids = Vec::new();
    for openid in ["o1", "o2", "o3"] {
        let more = r#""send_at":"2030-01-01T08:00:00+08:00","priority":"high""#;
        let queued = enqueue(&setup, &[], with(&message(openid, 1), more)).await;
        let queued = queued.has(202, &json!({"send_at": "2030-01-01T00:00:00Z", "waiting_for": "send_at"}));
        ids.push(queued.id());
    }
    let first = setup.read("outbox?state=queued&limit=2").await.json();
    assert_eq!((first["messages"].as_array().unwrap().len(), &first["next"]), (2, &json!(ids[1])));
    let second = setup.read(&format!("outbox?limit=2&after={}", ids[1])).await.json();
    has(&second, &json!({"messages": [second["messages"][0]], "next": null}));
    assert_eq!(second["messages"][0]["id"], json!(ids[2]));
    assert_eq!(setup.read("outbox?openid=o2").await.json()["messages"][0]["id"], json!(ids[1]));
    let path = format!("outbox/{}", ids[0]);
    let shown = setup.read(&path).await.has(200, &json!({}));
    assert_eq!(
        (&shown.headers["etag"], &shown.json()["events"][0]["event"]),
        (&"\"1\"".parse().unwrap(), &json!("enqueued"))
    );
    // Another app has no such message.
    let foreign = format!("/v1/apps/wx2/{path}");
    assert_eq!(setup.get(&foreign, &key('b')).await.status, 404);
    assert_eq!(setup.ask("DELETE", &foreign, Some(&key('b')), "").await.status, 404);
    assert_eq!(setup.read("outbox/7").await.status, 404);
    assert_eq!(setup.delete(&path).await.status, 204);
    setup.delete(&path).await.is(409, "final");
    assert_eq!(setup.read(&path).await.json()["state"], "cancelled");
    post(&setup, "outbox/resume", &[], String::new()).await.has(200, &json!({"waiting_for": null}));
}

#[tokio::test]
async fn an_invalid_message_names_every_field() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let more = r#""send_at":"tomorrow","priority":"urgent","tilte":"x""#;
    let invalid = enqueue(&setup, &[], with(&message("o", 1), more)).await;
    let problems = json!([{"field": "message"}, {"field": "send_at"}, {"field": "priority"}]);
    invalid.has(422, &json!({"kind": "invalid", "problems": problems}));
    let reversed = r#""send_at":"2030-01-02T00:00:00Z","expires_at":"2030-01-01T00:00:00Z""#;
    let reversed = enqueue(&setup, &[], with(&message("o", 1), reversed)).await;
    reversed.has(422, &json!({"problems": [{"field": "expires_at"}]}));
}

#[tokio::test]
async fn a_decision_needs_the_version_that_was_seen() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (id, version) = setup.undecided("o").await;
    let path = format!("outbox/{id}/decision");
    let body = json!({"decision": "give_up", "note": "asked"}).to_string();
    let decide = async |headers: &[(&str, &str)]| post(&setup, &path, headers, body.clone()).await;
    decide(&[]).await.is(428, "precondition_required");
    decide(&[("If-Match", "\"1\"")]).await.is(412, "precondition_failed");
    let wrong = post(&setup, &path, &[("If-Match", &version)], r#"{"decision":"retry"}"#.to_owned()).await;
    assert_eq!(wrong.status, 422);
    let decided = decide(&[("If-Match", &version)]).await;
    decided.has(200, &json!({"decision": "give_up", "decided_by": "a"}));
    decide(&[("If-Match", "*")]).await.is(409, "decided");
    // A fresh one cannot be decided yet, and a sent one never.
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    let decide = async |id: &str| {
        post(&setup, &format!("outbox/{id}/decision"), &[("If-Match", "*")], body.clone()).await
    };
    let fresh = setup.meanwhile(setup.send(message("p", 1))).await;
    decide(&fresh.id()).await.is(409, "too_early");
    setup.allow("q", 1);
    decide(&setup.send(message("q", 1)).await.id()).await.is(409, "not_undecided");
    assert_eq!(decide("01010101-0101-0101-0101-010101010101").await.status, 404);
}

#[tokio::test]
async fn undecided_messages_are_listed_without_decided_ones() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (decided, _) = setup.undecided("oOne").await;
    let (undecided, _) = setup.undecided("oTwo").await;
    let body = r#"{"decision":"assume_sent"}"#.to_owned();
    let decision = post(&setup, &format!("outbox/{decided}/decision"), &[("If-Match", "*")], body).await;
    decision.has(200, &json!({"id": decided}));
    for (query, expected) in [("undecided=true", &undecided), ("undecided=false", &decided)] {
        let listed = setup.read(&format!("outbox?{query}&limit=1")).await.json();
        assert_eq!(listed["messages"][0]["id"], *expected, "{query}: {listed}");
    }
    setup.read("outbox?undecided=yes").await.is(422, "invalid");
}

/// A server may have thousands of apps.
#[tokio::test]
async fn apps_are_read_several_at_once() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    for app in ["wx1", "wx2"] {
        let path = format!("/v1/apps/{app}/outbox/pause");
        assert_eq!(setup.ask("POST", &path, Some(&key('a')), "").await.status, 200);
    }
    ledger.fail(test_ledger::Fault::PairedApps);
    let listed = setup.within_two_minutes(setup.get("/v1/outbox", &key('a'))).await;
    listed.has(200, &json!({"apps": [{"appid": "wx1"}, {"appid": "wx2"}]}));
}

#[tokio::test]
async fn lines_are_recorded_each_by_itself() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let line = |number: usize| {
        with(&message(&format!("o{number}"), 1), &format!(r#""idempotency_key":"k{number}""#))
    };
    let mut lines: Vec<_> = (1..=1_000).map(line).collect();
    lines[499] = "{broken".to_owned();
    lines[500] = message("o", 1);
    lines[501] = line(1).replace("o1", "another");
    let lines_of = |lines: &[String]| lines.join("\n") + "\n";
    let results = |response: &TestResponse| -> Vec<Value> {
        response.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let media = ("Content-Type", "application/x-ndjson");
    let before = ledger.app_reads();
    let response = enqueue(&setup, &[media], lines_of(&lines)).await;
    assert_eq!(ledger.app_reads() - before, 1, "once for all lines");
    assert_eq!((response.status, &response.headers["content-type"]), (200, &media.1.parse().unwrap()));
    let recorded = results(&response);
    assert_eq!(recorded.len(), 1_000);
    for (index, result) in recorded.iter().enumerate() {
        let expected = match index {
            499 => json!({"status": 400, "problem": {"kind": "not_json"}}),
            500 => json!({"status": 400, "problem": {"kind": "key_required"}}),
            501 => json!({"status": 422, "problem": {"kind": "key_reused"}}),
            _ => json!({"status": 202, "message": {"state": "queued", "touser": format!("o{}", index + 1)}}),
        };
        has(result, &expected);
        assert_eq!(result["line"], index + 1);
    }
    // The same lines again record nothing, and say so.
    let again = results(&enqueue(&setup, &[media], lines_of(&lines[..3])).await);
    assert!(again.iter().all(|result| result["replayed"] == true), "{again:?}");
    assert_eq!(again[0]["message"]["id"], recorded[0]["message"]["id"]);
    let header = enqueue(&setup, &[media, ("Idempotency-Key", "k")], lines_of(&lines[..1])).await;
    assert_eq!(header.status, 400);
    enqueue(&setup, &[media], "{}\n".repeat(1_001)).await.is(413, "too_large");
}
