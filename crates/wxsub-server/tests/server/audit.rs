//! The audit log: one line for each read, report, send and list of apps.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tower_service::Service;
use wxsub_core::proto::ErrCode;
use wxsub_core::rfc3339;
use wxsub_sandbox::Fault;

use super::outbox::ledger_config;
use super::setup::{
    ALL, SEND, STABLE, Setup, TOKEN, client, config_with_audit, digest, has, key, message, stable_body,
};
use super::test_ledger;

/// A client `name` with the key of this letter. Its line `keys` has `DIGEST` for the digest.
fn client_with_keys(name: &str, letter: char, keys: &str) -> String {
    let keys = keys.replace("DIGEST", &format!("sha256 = \"{}\"", digest(letter)));
    format!("[[clients]]\nname = \"{name}\"\napps = [\"wx1\"]\nscopes = [\"message:send\"]\n{keys}\n")
}

/// A setup that writes its audit lines to a file.
struct AuditedServer {
    setup: Setup,
    path: PathBuf,
}

impl AuditedServer {
    async fn new(name: &str, more: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_file(&path);
        let setup = Setup::with_config(config_with_audit(&format!("{path:?}"), more)).await;
        Self { setup, path }
    }

    /// Stops the server, which writes all queued lines, and returns them without times and generations.
    async fn lines(self) -> Vec<Value> {
        self.setup.stop().await;
        let text = std::fs::read_to_string(self.path).unwrap();
        let now = self.setup.sandbox.now().as_millis();
        let line = |text: &str| {
            let mut line: Value = serde_json::from_str(text).unwrap();
            let members = line.as_object_mut().unwrap();
            let at = members.remove("at").unwrap();
            let at = rfc3339::parse(at.as_str().unwrap()).unwrap();
            assert!(u128::from(at.get()) <= now, "{text}");
            if let Some(generation) = members.remove("generation") {
                assert!(generation.as_u64().unwrap() > 1_000_000_000_000, "{text}");
                members.insert("generation".to_owned(), "some".into());
            }
            line
        };
        text.lines().map(line).collect()
    }
}

#[tokio::test]
async fn each_v1_request_has_its_line() {
    let scopes = format!("{ALL}, \"admin\"");
    let audited = AuditedServer::new("audit-v1.jsonl", &client('a', "\"wx1\"", &scopes)).await;
    let setup = &audited.setup;
    let token = setup.token().await.access_token();
    setup.report(&token).await;
    setup.report("a b").await;
    setup.allow("oUser", 1);
    setup.send(message("oUser", 1)).await;
    let refused = setup.send(message("oUser", 1)).await;
    setup.send("{}".to_owned()).await;
    setup.get("/v1/apps", &key('a')).await;
    setup.get("/v1/apps/wx9/access_token", &key('a')).await;
    setup.get("/v1/apps/wx1/access_token", &key('z')).await;
    setup.ask("DELETE", "/v1/apps", Some(&key('a')), "").await;
    let line = |action: &str, outcome: &str, more: Value| {
        let mut line = json!({"api": "v1", "action": action, "client": "a", "address": "10.1.2.3", "appid": "wx1", "outcome": outcome});
        let members = line.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        line
    };
    let (some, rid) = (json!({"generation": "some"}), &refused.json()["rid"]);
    assert_eq!(
        audited.lines().await,
        [
            line("read", "ok", some.clone()),
            line("report", "ok", some.clone()),
            line("report", "denied", json!({})),
            line("send", "sent", some),
            line("send", "refused", json!({"generation": "some", "errcode": 43101, "rid": rid})),
            line("send", "denied", json!({})),
            line("list", "ok", json!({"appid": null})),
            line("read", "denied", json!({"appid": "wx9", "reason": "app_not_allowed"})),
            line("read", "denied", json!({"client": null, "reason": "unknown_key"})),
        ]
    );
}

#[tokio::test]
async fn each_weixin_compatible_request_has_its_line() {
    let audited = AuditedServer::new("audit-weixin.jsonl", &client('a', "\"wx1\"", ALL)).await;
    let setup = &audited.setup;
    let mut token = setup.classic(&key('a')).await.access_token();
    setup.classic(&key('z')).await;
    for _ in 0..3 {
        token = setup.stable(&key('a'), true).await.access_token();
    }
    setup.stable(&key('a'), true).await;
    setup.ask("POST", STABLE, None, stable_body("wx2", &key('a'), true)).await;
    setup.ask("GET", TOKEN, None, "").await;
    let send = async |token: &str, body: String| {
        setup.ask("POST", &format!("{SEND}?access_token={token}"), None, body).await
    };
    send(&token, message("oUser", 1)).await;
    send(&token, "{".to_owned()).await;
    send("other", message("oUser", 1)).await;
    let secrets = [token, key('a'), "oUser".to_owned()];
    let facts = |line: &Value| {
        assert!(secrets.iter().all(|secret| !line.to_string().contains(secret)), "{line}");
        assert_eq!((&line["api"], &line["address"]), (&json!("weixin"), &json!("10.1.2.3")));
        let member =
            |name: &str| line.get(name).map_or("-".to_owned(), |value| value.to_string().replace('"', ""));
        ["action", "outcome", "client", "appid", "errcode", "generation"].map(member).join(" ")
    };
    assert_eq!(
        audited.lines().await.iter().map(facts).collect::<Vec<_>>(),
        [
            "read ok a wx1 - some",
            "read denied - wx1 40125 -",
            "report ok a wx1 - some",
            "report ok a wx1 - some",
            "report ok a wx1 - some",
            "report rate_limited a wx1 45011 -",
            "report denied a wx2 40013 -",
            "read denied - - 41002 -",
            "send refused - wx1 43101 some",
            "send denied - wx1 47001 some",
            "send denied - - 40001 -",
        ]
    );
}

/// The response to all of them is the same 401. The audit and the counter tell why.
#[tokio::test]
async fn denied_key_has_its_client_and_reason() {
    let clients = [
        client_with_keys("elsewhere", 'a', "allowed_networks = [\"192.0.2.0/24\"]\nkeys = [{ DIGEST }]"),
        client_with_keys("expired", 'b', "keys = [{ DIGEST, expires = 2026-05-27 }]"),
        client_with_keys("other", 'c', "keys = [{ DIGEST }]"),
    ];
    let audited = AuditedServer::new("audit-denied.jsonl", &clients.concat()).await;
    let setup = &audited.setup;
    let mut responses = Vec::new();
    for letter in ['a', 'b', 'z'] {
        let response = setup.get("/v1/apps/wx1/access_token", &key(letter)).await;
        responses.push((response.status, response.text));
        assert_eq!(setup.classic(&key(letter)).await.errcode(), 40125);
    }
    assert!(responses.iter().all(|response| *response == responses[0] && response.0 == 401), "{responses:?}");
    setup.ask("GET", "/v1/apps/wx1/access_token", None, "").await;
    setup.get("/v1/apps/wx1/access_token", &key('c')).await;
    setup.get("/v1/apps/wx2/access_token", &key('c')).await;
    let expected = [
        ("v1", "address_not_allowed", "elsewhere"),
        ("weixin", "address_not_allowed", "elsewhere"),
        ("v1", "key_expired", "expired"),
        ("weixin", "key_expired", "expired"),
        ("v1", "unknown_key", "-"),
        ("weixin", "unknown_key", "-"),
        ("v1", "no_key", "-"),
        ("v1", "missing_scope", "other"),
        ("v1", "missing_scope", "other"),
    ];
    for (api, reason, _) in expected {
        let count = if reason == "missing_scope" { 2 } else { 1 };
        let line = format!("wxsub_denials_total{{api=\"{api}\",reason=\"{reason}\"}} {count}");
        setup.assert_metrics(&[&line]).await;
    }
    let lines = audited.lines().await;
    let member = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let facts: Vec<_> =
        lines.iter().map(|line| ["api", "reason", "client"].map(|name| member(line, name))).collect();
    assert_eq!(facts, expected.map(|(api, reason, client)| [api, reason, client].map(str::to_owned)));
}

/// A known client that goes on over its limit, or against its rights, gets few lines and a summary of each kind.
#[tokio::test]
async fn refused_client_cannot_fill_the_audit() {
    let more = format!("{}[limits]\nin_flight_per_key = 1\n", client('a', "\"wx1\"", ALL));
    let audited = AuditedServer::new("audit-refused.jsonl", &more).await;
    let setup = &audited.setup;
    setup.token().await;
    setup.sandbox.add_fault(SEND, 1, Fault::Hang);
    let refused = async {
        setup.until_seen(SEND, 1).await;
        for _ in 0..100 {
            assert_eq!(setup.send(message("oUser", 1)).await.status, 429);
            assert_eq!(setup.get("/v1/apps/wx2/access_token", &key('a')).await.status, 403);
        }
        setup.pass(30).await;
    };
    tokio::join!(setup.send(message("oUser", 1)), refused);
    let lines = audited.lines().await;
    assert_eq!(lines.len(), 2 + 2 * (20 + 1));
    let mut summaries: Vec<_> = lines.iter().filter(|line| line["left_out"] == 80).collect();
    summaries.sort_by_key(|line| line["outcome"].to_string());
    let [denied, limited] = summaries[..] else { panic!("{lines:?}") };
    has(denied, &json!({"outcome": "denied", "client": "a", "reason": "app_not_allowed"}));
    has(limited, &json!({"outcome": "rate_limited", "client": "a"}));
}

#[tokio::test]
async fn failed_token_request_has_its_errcode() {
    let audited = AuditedServer::new("audit-failed.jsonl", &client('a', "\"wx1\"", ALL)).await;
    let setup = &audited.setup;
    setup.sandbox.add_fault(TOKEN, 99, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    setup.token().await;
    setup.classic(&key('a')).await;
    let lines = audited.lines().await;
    let facts: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["errcode"])).collect();
    assert_eq!(facts, [(&json!("no_token"), &json!(40164)); 2]);
}

#[cfg(unix)]
#[tokio::test]
async fn audit_file_is_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let audited = AuditedServer::new("audit-mode.jsonl", "").await;
    let mode = std::fs::metadata(&audited.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Weixin does not respond before the end of drain_s.
#[tokio::test]
async fn message_that_is_cut_at_the_stop_is_maybe_sent() {
    let limits = format!("{}[limits]\ndrain_s = 5\n", client('a', "\"wx1\"", ALL));
    let AuditedServer { setup, path } = AuditedServer::new("audit-cut.jsonl", &limits).await;
    setup.token().await;
    setup.sandbox.add_fault(SEND, 1, Fault::Hang);
    let started_at = setup.sandbox.now();
    let stop = async {
        let posted = || setup.until_seen(SEND, 1);
        let drained = async {
            posted().await;
            setup.pass(5).await;
            // The clock stands still while the line is written.
        };
        tokio::join!(setup.serve_until(posted()), drained).0
    };
    let (response, cut_messages) = futures_util::future::join(setup.send(message("oUser", 1)), stop).await;
    response.has(504, &json!({"outcome": "maybe_sent"}));
    assert_eq!(cut_messages, 1);
    assert!((setup.sandbox.now() - started_at).as_secs() < 29);
    let text = std::fs::read_to_string(path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["action"], &last["outcome"]), (&json!("send"), &json!("maybe_sent")));
}

/// The pause may be in the ledger, so the audit has it.
#[tokio::test]
async fn change_whose_client_has_gone_has_its_line() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("audit-change.jsonl");
    let _ = std::fs::remove_file(&path);
    let config = config_with_audit(&format!("{path:?}"), &ledger_config());
    let (setup, ledger) = Setup::with_ledger_and(config).await;
    ledger.fail(test_ledger::Fault::Silent);
    let request = Request::post("/v1/apps/wx1/outbox/pause");
    let request = request.header("Authorization", format!("Bearer {}", key('a'))).body(Body::empty());
    let mut router = setup.server.router();
    let mut pausing = Box::pin(router.call(request.unwrap()));
    while !ledger.is_silent() {
        assert!(pausing.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(pausing);
    setup.pass(31).await;
    // Its line is written after all lines before it.
    setup.token().await;
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    has(&lines[0], &json!({"action": "pause", "client": "a", "outcome": "ledger_unavailable"}));
}

/// The token is replaced, so the audit has it, and that it began.
#[tokio::test]
async fn forced_refresh_whose_client_has_gone_has_its_lines() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("audit-forced.jsonl");
    let _ = std::fs::remove_file(&path);
    let audit = format!("{path:?}\naudit_required = true");
    let setup = Setup::with_config(config_with_audit(&audit, &client('a', "\"wx1\"", ALL))).await;
    setup.token().await;
    setup.sandbox.add_fault(TOKEN, 1, Fault::Delay(std::time::Duration::from_secs(3)));
    let request = Request::post(STABLE).body(Body::from(stable_body("wx1", &key('a'), true)));
    let mut router = setup.server.router();
    let mut forcing = Box::pin(router.call(request.unwrap()));
    while setup.seen(TOKEN) < 2 {
        assert!(forcing.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(forcing);
    tokio::join!(setup.stop(), setup.pass(3));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let facts: Vec<_> = lines
        .iter()
        .map(|line| ["api", "action", "outcome"].map(|name| line[name].as_str().unwrap()))
        .collect();
    assert_eq!(facts, [["v1", "read", "ok"], ["weixin", "report", "started"], ["weixin", "report", "ok"]]);
}

/// Without a token, nothing is served or sent.
#[tokio::test]
async fn unfinished_request_whose_client_has_gone_has_its_line() {
    let AuditedServer { setup, path } =
        AuditedServer::new("audit-unfinished.jsonl", &client('a', "\"wx1\"", ALL)).await;
    setup.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    let classic = format!("{TOKEN}?grant_type=client_credential&appid=wx1&secret={}", key('a'));
    let requests = [
        ("v1", "read", Request::get("/v1/apps/wx1/access_token"), String::new()),
        ("weixin", "read", Request::get(classic), String::new()),
        ("v1", "send", Request::post("/v1/apps/wx1/messages"), message("oUser", 1)),
    ];
    let mut expected = Vec::new();
    for (api, action, request, body) in requests {
        let request = request.header("Authorization", format!("Bearer {}", key('a')));
        let mut router = setup.server.router();
        let mut waiting = Box::pin(router.call(request.body(Body::from(body)).unwrap()));
        assert!(waiting.as_mut().now_or_never().is_none());
        expected.push(
            json!({"api": api, "action": action, "client": "a", "appid": "wx1", "outcome": "unfinished"}),
        );
    }
    // Its line is written after all lines before it.
    setup.get("/v1/apps/wx1/access_token", &key('z')).await;
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    lines.iter().zip(&expected).for_each(|(line, expected)| has(line, expected));
}

/// The stop waits for a message whose client has gone.
#[tokio::test]
async fn message_without_its_client_is_finished_before_the_stop() {
    let AuditedServer { setup, path } =
        AuditedServer::new("audit-gone.jsonl", &client('a', "\"wx1\"", ALL)).await;
    setup.token().await;
    setup.allow("oUser", 1);
    setup.sandbox.add_fault(SEND, 1, Fault::Delay(std::time::Duration::from_secs(3)));
    tokio::select! {
        _ = setup.send(message("oUser", 1)) => panic!("it was not delayed"),
        () = setup.until_seen(SEND, 1) => {}
    }
    // The clock stands still while the line is written.
    let (cut_messages, ()) = tokio::join!(setup.stop(), setup.pass(3));
    assert_eq!(cut_messages, 0);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().last().unwrap().contains("\"outcome\":\"sent\""), "{text}");
}
