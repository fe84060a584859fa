//! The routes of consents, grants and the outbox.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::setup::{ALL, SEND, Setup, TestResponse, client, key, message};

pub(crate) const OUTBOX_SCOPES: &str = r#""outbox:write", "outbox:read", "outbox:decide", "consent""#;

/// The file of a signing key.
pub(crate) fn consent_key() -> &'static PathBuf {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("wxsub-server-{}-consent.key", std::process::id()));
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

    async fn delete(&self, path: &str) -> TestResponse {
        self.ask("DELETE", &format!("/v1/apps/wx1/{path}"), Some(&key('a')), "").await
    }

    pub(crate) async fn until_received(&self, openid: &str, count: usize) {
        while self.received(openid) < count {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn until_state(&self, path: &str, state: &str) -> TestResponse {
        loop {
            let response = self.get(path, &key('a')).await;
            if response.json()["state"] == state {
                return response;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A message of `wx1` that may have been sent and can be decided: its id and its version.
    pub(crate) async fn undecided(&self, openid: &str) -> (String, String) {
        self.token().await;
        self.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
        let response = self.meanwhile(self.send(message(openid, 1))).await;
        assert_eq!(response.status, 504, "{response:?}");
        self.pass(121).await;
        let id = response.json()["id"].as_str().unwrap().to_owned();
        let shown = self.read(&format!("outbox/{id}")).await;
        assert_eq!(shown.json()["state"], "maybe_sent");
        (id, shown.headers["etag"].to_str().unwrap().to_owned())
    }
}

fn id(response: &TestResponse) -> String {
    response.json()["id"].as_str().unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

#[tokio::test]
async fn the_consent_page_is_that_of_the_configuration() {
    let asked =
        json!({"scene": 1, "template_id": "T", "session": "s", "redirect_url": "https://shop.example/back"});
    for (line, page) in [
        ("", "https://mp.weixin.qq.com/mp/subscribemsg?"),
        ("mp_base = \"http://127.0.0.1:8459\"\n", "http://127.0.0.1:8459/mp/subscribemsg?"),
    ] {
        let (setup, _ledger) = Setup::with_ledger(&(ledger_config() + line)).await;
        let url = post(&setup, "consents", &[], asked.to_string()).await.json()["url"].clone();
        assert!(url.as_str().unwrap().starts_with(page), "{url}");
    }
}

#[tokio::test]
async fn a_consent_is_issued_verified_and_used_once() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let asked =
        json!({"scene": 1, "template_id": "T", "session": "s", "redirect_url": "https://shop.example/back"});
    let issued = post(&setup, "consents", &[], asked.to_string()).await;
    assert_eq!(issued.status, 201, "{issued:?}");
    let issued = issued.json();
    assert!(issued["url"].as_str().unwrap().contains(issued["reserved"].as_str().unwrap()));
    assert_eq!((&issued["mobile"]["scene"], &issued["mobile"]["reserved"]), (&json!(1), &issued["reserved"]));
    assert!(issued["expires_at"].as_str().unwrap().ends_with('Z'));
    let callback = |action: &str| json!({"openid": "oUser", "template_id": "T", "scene": 1, "action": action, "reserved": issued["reserved"]});
    let record = async |callback: &Value, session: &str| {
        let body = json!({"callback": callback, "session": session}).to_string();
        post(&setup, "grants", &[], body).await
    };
    let forged = record(&callback("confirm"), "another").await;
    assert_eq!((forged.status, forged.kind().as_str()), (422, "consent_forged"));
    let declined = record(&callback("cancel"), "s").await;
    assert_eq!((declined.status, declined.json()), (200, json!({"outcome": "declined"})));
    let recorded = record(&callback("confirm"), "s").await;
    assert_eq!((recorded.status, &recorded.json()["outcome"]), (201, &json!("recorded")));
    let grant = recorded.json()["grant"].clone();
    let again = record(&callback("confirm"), "s").await;
    assert_eq!((again.status, again.json()), (200, json!({"outcome": "already_recorded", "grant": grant})));
    let query = format!(
        "openid=oUser&template_id=T&scene=1&action=confirm&reserved={}",
        issued["reserved"].as_str().unwrap()
    );
    let url = json!(format!("https://shop.example/back?{query}"));
    assert_eq!(record(&url, "s").await.json()["outcome"], "already_recorded");
    let second = post(&setup, "consents", &[], asked.to_string()).await.json();
    let absorbed = json!({"openid": "oUser", "template_id": "T", "scene": 1, "action": "confirm", "reserved": second["reserved"]});
    let absorbed = record(&absorbed, "s").await;
    assert_eq!((absorbed.status, absorbed.json()), (200, json!({"outcome": "absorbed", "grant": grant})));
    setup.pass(631).await;
    let expired = record(&callback("confirm"), "s").await;
    assert_eq!((expired.status, expired.kind().as_str()), (422, "consent_expired"));
    let listed = setup.read("grants?openid=oUser").await.json();
    assert_eq!(listed["grants"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["grants"][0]["id"], &listed["grants"][0]["state"]), (&grant, &json!("open")));
}

#[tokio::test]
async fn a_grant_by_openid_needs_a_key_and_is_recorded_once() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let body = |openid: &str| json!({"openid": openid, "template_id": "T", "scene": 1}).to_string();
    let missing = post(&setup, "grants", &[], body("o")).await;
    assert_eq!((missing.status, missing.kind().as_str()), (400, "key_required"));
    let keyed = [("Idempotency-Key", "k")];
    let recorded = post(&setup, "grants", &keyed, body("o")).await;
    assert_eq!(recorded.status, 201, "{recorded:?}");
    let again = post(&setup, "grants", &keyed, body("o")).await;
    assert_eq!((again.status, &again.json()["outcome"]), (200, &json!("already_recorded")));
    let reused = post(&setup, "grants", &keyed, body("other")).await;
    assert_eq!((reused.status, reused.kind().as_str()), (422, "key_reused"));
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
    assert_eq!(
        (paused.status, paused.json()),
        (
            200,
            json!({
                "appid": "wx1", "waiting_for": "paused", "paused_by": "a", "note": "night",
                "paused_at": paused.json()["paused_at"], "counts": {}, "undecided": 0
            })
        )
    );
    let with = |openid: &str, more: &str| message(openid, 1).replacen('{', &format!("{{{more}"), 1);
    let mut ids = Vec::new();
    for openid in ["o1", "o2", "o3"] {
        let more = r#""send_at":"2030-01-01T08:00:00+08:00","priority":"high","#;
        let queued = enqueue(&setup, &[], with(openid, more)).await;
        assert_eq!((queued.status, &queued.json()["send_at"]), (202, &json!("2030-01-01T00:00:00Z")));
        assert_eq!(queued.json()["waiting_for"], "send_at");
        ids.push(id(&queued));
    }
    let first = setup.read("outbox?state=queued&limit=2").await.json();
    assert_eq!((first["messages"].as_array().unwrap().len(), &first["next"]), (2, &json!(ids[1])));
    let second = setup.read(&format!("outbox?limit=2&after={}", ids[1])).await.json();
    assert_eq!((&second["messages"][0]["id"], second.get("next")), (&json!(ids[2]), None));
    assert_eq!(setup.read("outbox?openid=o2").await.json()["messages"][0]["id"], json!(ids[1]));
    for wrong in ["outbox?limit=0", "outbox?state=lost", "outbox?page=2", "outbox?after=1"] {
        assert_eq!(setup.read(wrong).await.status, 422, "{wrong}");
    }
    let path = format!("outbox/{}", ids[0]);
    let shown = setup.read(&path).await;
    assert_eq!((shown.status, &shown.headers["etag"]), (200, &"\"1\"".parse().unwrap()));
    assert_eq!(shown.json()["events"][0]["event"], "enqueued");
    // Another app has no such message.
    let foreign = format!("/v1/apps/wx2/{path}");
    assert_eq!(setup.get(&foreign, &key('b')).await.status, 404);
    assert_eq!(setup.ask("DELETE", &foreign, Some(&key('b')), "").await.status, 404);
    assert_eq!(setup.read("outbox/7").await.status, 404);
    assert_eq!(setup.delete(&path).await.status, 204);
    let again = setup.delete(&path).await;
    assert_eq!((again.status, again.kind().as_str()), (409, "final"));
    assert_eq!(setup.read(&path).await.json()["state"], "cancelled");
    let resumed = post(&setup, "outbox/resume", &[], String::new()).await;
    assert_eq!((resumed.status, resumed.json().get("waiting_for")), (200, None));
}

#[tokio::test]
async fn an_invalid_message_names_every_field() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let more = r#"{"send_at":"tomorrow","priority":"urgent","tilte":"x","#;
    let invalid = enqueue(&setup, &[], message("o", 1).replacen('{', more, 1)).await;
    let json = invalid.json();
    let fields: Vec<_> =
        json["problems"].as_array().unwrap().iter().filter_map(|problem| problem["field"].as_str()).collect();
    assert_eq!((invalid.status, fields), (422, vec!["message", "send_at", "priority"]));
    let reversed = r#"{"send_at":"2030-01-02T00:00:00Z","expires_at":"2030-01-01T00:00:00Z","#;
    let reversed = enqueue(&setup, &[], message("o", 1).replacen('{', reversed, 1)).await;
    assert_eq!((reversed.status, &reversed.json()["problems"][0]["field"]), (422, &json!("expires_at")));
    assert_eq!(enqueue(&setup, &[], "[]".to_owned()).await.status, 400);
}

#[tokio::test]
async fn a_decision_needs_the_version_that_was_seen() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (id, version) = setup.undecided("o").await;
    let path = format!("outbox/{id}/decision");
    let body = json!({"decision": "give_up", "note": "asked"}).to_string();
    let decide = async |headers: &[(&str, &str)]| post(&setup, &path, headers, body.clone()).await;
    let missing = decide(&[]).await;
    assert_eq!((missing.status, missing.kind().as_str()), (428, "precondition_required"));
    let stale = decide(&[("If-Match", "\"1\"")]).await;
    assert_eq!((stale.status, stale.kind().as_str()), (412, "precondition_failed"));
    let wrong = post(&setup, &path, &[("If-Match", &version)], r#"{"decision":"retry"}"#.to_owned()).await;
    assert_eq!(wrong.status, 422);
    let decided = decide(&[("If-Match", &version)]).await;
    assert_eq!((decided.status, &decided.json()["decision"]), (200, &json!("give_up")), "{decided:?}");
    assert_eq!(decided.json()["decided_by"], "a");
    let again = decide(&[("If-Match", "*")]).await;
    assert_eq!((again.status, again.kind().as_str()), (409, "decided"));
    // A fresh one cannot be decided yet, and a sent one never.
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    let fresh = setup.meanwhile(setup.send(message("p", 1))).await.json();
    let path = |id: &Value| format!("outbox/{}/decision", id.as_str().unwrap());
    let early = post(&setup, &path(&fresh["id"]), &[("If-Match", "*")], body.clone()).await;
    assert_eq!((early.status, early.kind().as_str()), (409, "too_early"));
    setup.allow("q", 1);
    let sent = setup.send(message("q", 1)).await.json();
    let sent = post(&setup, &path(&sent["id"]), &[("If-Match", "*")], body.clone()).await;
    assert_eq!((sent.status, sent.kind().as_str()), (409, "not_undecided"));
    let unknown = json!("01010101-0101-0101-0101-010101010101");
    assert_eq!(post(&setup, &path(&unknown), &[("If-Match", "*")], body.clone()).await.status, 404);
}

#[tokio::test]
async fn lines_are_recorded_each_by_itself() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let line = |number: usize| {
        message(&format!("o{number}"), 1).replacen('{', &format!(r#"{{"idempotency_key":"k{number}","#), 1)
    };
    let mut lines: Vec<_> = (1..=1_000).map(line).collect();
    lines[499] = "{broken".to_owned();
    lines[500] = message("o", 1);
    lines[501] = line(1).replace("o1", "another");
    let lines_of = |lines: &[String]| lines.join("\n") + "\n";
    let media = ("Content-Type", "application/x-ndjson");
    let response = enqueue(&setup, &[media], lines_of(&lines)).await;
    assert_eq!((response.status, &response.headers["content-type"]), (200, &media.1.parse().unwrap()));
    let results: Vec<Value> = response.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 1_000);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["line"], index + 1);
        match index {
            499 => {
                assert_eq!(
                    (&result["status"], &result["problem"]["kind"]),
                    (&json!(400), &json!("not_json"))
                );
            }
            500 => assert_eq!(result["problem"]["kind"], "key_required"),
            501 => assert_eq!(
                (&result["status"], &result["problem"]["kind"]),
                (&json!(422), &json!("key_reused"))
            ),
            _ => {
                assert_eq!((&result["status"], &result["message"]["state"]), (&json!(202), &json!("queued")));
                assert_eq!(result["message"]["touser"], format!("o{}", index + 1));
            }
        }
    }
    // The same lines again record nothing, and say so.
    let again = enqueue(&setup, &[media], lines_of(&lines[..3])).await;
    let again: Vec<Value> = again.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(again.iter().all(|result| result["replayed"] == true), "{again:?}");
    assert_eq!(again[0]["message"]["id"], results[0]["message"]["id"]);
    let header = enqueue(&setup, &[media, ("Idempotency-Key", "k")], lines_of(&lines[..1])).await;
    assert_eq!(header.status, 400);
    let too_many = enqueue(&setup, &[media], "{}\n".repeat(1_001)).await;
    assert_eq!((too_many.status, too_many.kind().as_str()), (413, "too_large"));
}

#[tokio::test]
async fn a_paused_app_and_a_used_grant_refuse_a_send() {
    let (setup, _ledger) = Setup::with_ledger(&format!("require_grant = true\n{}", ledger_config())).await;
    setup.token().await;
    let refused = setup.ask("POST", "/v1/apps/wx2/messages", Some(&key('a')), message("o", 1)).await;
    assert_eq!((refused.status, refused.kind().as_str()), (409, "no_grant"), "{refused:?}");
    let result = refused.json();
    assert_eq!((&result["outcome"], &result["stage"]), (&json!("not_sent"), &json!("grant")));
    assert_eq!(result["remedy"], "stop");
    // A queued message has the grant.
    post(
        &setup,
        "grants",
        &[("Idempotency-Key", "g")],
        json!({"openid": "o", "template_id": "T", "scene": 1}).to_string(),
    )
    .await;
    let later = r#"{"send_at":"2030-01-01T00:00:00Z","#;
    assert_eq!(enqueue(&setup, &[], message("o", 1).replacen('{', later, 1)).await.status, 202);
    let held = setup.send(message("o", 1)).await;
    assert_eq!((held.status, held.kind().as_str()), (409, "grant_unavailable"));
    let held = enqueue(&setup, &[], message("o", 1)).await;
    assert_eq!((held.status, held.kind().as_str()), (409, "grant_unavailable"));
    let token = setup.token().await.access_token();
    let weixin = setup.ask("POST", &format!("{SEND}?access_token={token}"), None, message("o", 1)).await;
    assert_eq!(weixin.errcode(), 43101);
    assert!(weixin.json()["errmsg"].as_str().unwrap().starts_with("wxsub:"), "{weixin:?}");
    post(&setup, "outbox/pause", &[], String::new()).await;
    let paused = setup.send(message("p", 1)).await;
    assert_eq!((paused.status, paused.kind().as_str(), paused.retry_after()), (503, "paused", 60));
    let weixin = setup.ask("POST", &format!("{SEND}?access_token={token}"), None, message("p", 1)).await;
    assert_eq!(weixin.errcode(), -1);
    assert_eq!(setup.seen(SEND), 0);
}

#[tokio::test]
async fn the_token_call_of_a_send_through_the_ledger_is_not_sent() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    setup.sandbox.add_fault(super::setup::TOKEN, 99, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    let response = setup.meanwhile(setup.send(message("o", 1))).await;
    let result = response.json();
    assert_eq!((response.status, response.kind().as_str()), (503, "not_sent"), "{response:?}");
    assert_eq!((&result["stage"], &result["errcode"]), (&json!("token"), &json!(40164)));
    assert_eq!(result["remedy"], "allow_ip");
    assert!(response.retry_after() >= 1);
    assert_eq!(setup.seen(SEND), 0);
}
