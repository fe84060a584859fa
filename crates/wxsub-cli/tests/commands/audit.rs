//! The audit: one line for every read, report and send, with caller, app and outcome.

use std::fs;

use serde_json::{Value, json};

use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, Weixin, line};
use super::wxsub::file;

/// The lines of an audit.
fn read(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line as text, with placeholders for app and generation.
fn describe(line: &Value, first: &Value) -> String {
    assert!(line["at"].as_u64() > Some(1_000_000_000_000) && line["address"] == "127.0.0.1");
    let generation = match &line["generation"] {
        Value::Null => "none",
        generation if generation == first => "first",
        _ => "later",
    };
    let app = if line["appid"] == APPID { "ours" } else { "none" };
    let words = ["api", "client", "action", "outcome", "errcode"].map(|name| line[name].to_string());
    format!("{} {app} {generation}", words.join(" ")).replace('"', "")
}

#[test]
fn every_audit_line_has_its_fields() {
    let weixin = Weixin::start();
    let ((key, lines), (sender, sender_lines)) =
        (client("orders", ALL), client("sender", "\"message:send\""));
    let audit = file("audit_lines.log", "");
    let path = config("audit_lines.toml", &weixin.base, &(lines + &sender_lines));
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"off\"", &format!("{audit:?}"))).unwrap();
    let server = Served::start(&path);
    let classic = |key: &str| {
        let query = format!("grant_type=client_credential&appid={APPID}&secret={key}");
        server.get(&format!("{CLASSIC_TOKEN}?{query}"), "");
    };
    let subscribe = |token: &str, body: &str| {
        server.post(&format!("{SEND}?access_token={token}"), "", body.as_bytes());
    };
    let route = |what: &str| format!("/v1/apps/{APPID}/{what}");
    let first = server.token(&key);
    let token = first["access_token"].as_str().unwrap();
    server.post(&route("access_token/report"), &key, json!({ "access_token": token }).to_string().as_bytes());
    // The previous token is accepted, too. The line names the client that got it.
    subscribe(token, &line("oUser", 1, "Hi"));
    subscribe(token, "{}");
    subscribe("never-heard-of", "{}");
    let forced =
        json!({"grant_type": "client_credential", "appid": APPID, "secret": key, "force_refresh": true});
    (0..3).for_each(|_| drop(server.post(STABLE_TOKEN, "", forced.to_string().as_bytes())));
    classic(&key);
    classic(&sender);
    classic("no-key");
    server.get(&route("access_token"), &sender);
    weixin.allow("oUser", 2);
    server.post(&route("messages"), &sender, line("oUser", 2, "Hi").as_bytes());
    server.post(&route("access_token/report"), &key, b"[");
    server.post(&route("messages"), &sender, b"[");
    assert_eq!(server.stop("TERM"), Some(0));
    let described: Vec<String> =
        read(&audit).iter().map(|line| describe(line, &first["generation"])).collect();
    let expected = [
        "v1 orders read ok null ours first",
        "v1 orders report ok null ours later",
        "weixin null send refused 43101 ours first",
        "weixin null send denied 47003 ours first",
        "weixin null send denied 40001 none none",
        "weixin orders report ok null ours later",
        "weixin orders report ok null ours later",
        "weixin orders report rate_limited 45011 ours none",
        "weixin orders read ok null ours later",
        "weixin sender read denied 48001 ours none",
        "weixin null read denied 40125 ours none",
        "v1 sender read denied null ours none",
        "v1 sender send sent null ours later",
        "v1 orders report denied null ours none",
        "v1 sender send denied null ours none",
    ];
    assert_eq!(described, expected);
    let text = fs::read_to_string(&audit).unwrap();
    for secret in [SECRET, token, key.as_str(), sender.as_str(), "oUser"] {
        assert!(!text.contains(secret));
    }
}
