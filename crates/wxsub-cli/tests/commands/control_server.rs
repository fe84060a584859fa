//! `wxsub send` and `wxsub token` through a control server, on a machine that has no AppSecret.

use serde_json::json;

use super::served::{Served, client, config};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, TEMPLATE, UNUSED_BASE, Weixin};
use super::wxsub::{file, wxsub};

#[test]
fn key_with_send_scope_can_only_send() {
    let weixin = Weixin::start();
    let (key, lines) = client("sender", "\"message:send\"");
    let server = Served::start(&config("way_send.toml", &weixin.base, &lines));
    weixin.allow("oUser", 7);
    let send = || server.call(&key, &["send", "--json"]).message("oUser", "It is here.").run();
    let expected = format!(r#"{{"outcome":"sent","touser":"oUser","template_id":"{TEMPLATE}","scene":"7"}}"#);
    let sent = send();
    assert_eq!((sent.code, sent.out.trim_end(), sent.err.as_str()), (0, expected.as_str(), ""));
    let refused = send();
    refused.said(3, "43101");
    let result = &refused.json()[0];
    assert_eq!((&result["outcome"], &result["errcode"]), (&json!("refused"), &json!(43101)));
    assert_eq!((&result["touser"], &result["stage"]), (&json!("oUser"), &json!("send")));
    assert!(result["rid"].is_string(), "{result}");
    for what in ["show", "refresh"] {
        let denied = server.call(&key, &["token", what]).run();
        denied.said(4, "responded with 403");
        assert_eq!(denied.out, "");
    }
    // Only the server fetched a token, and only one.
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 0, 2));
    assert_eq!(weixin.received("oUser"), ["It is here."]);
}

#[test]
fn token_of_the_server_is_not_shown() {
    let (weixin, server, key) = Served::before_sandbox("way_token", "");
    let token = server.token(&key);
    let secret = token["access_token"].as_str().unwrap();
    let shown = server.call(&key, &["token", "show", "--json"]).run();
    let before = &shown.json()[0];
    assert_eq!((shown.code, &before["generation"]), (0, &token["generation"]), "{shown:?}");
    assert_eq!((&before["appid"], &before["endpoint"]), (&json!(APPID), &json!("control_server")));
    assert!(!shown.out.contains(secret) && !shown.err.contains(secret));
    let path = file("way_key", &format!("{key}\n"));
    let revealed = server
        .call(&key, &["token", "show", "--reveal"])
        .without("WXSUB_KEY")
        .env("WXSUB_KEY_FILE", &path)
        .run();
    assert!(revealed.out.contains(secret), "{revealed:?}");
    assert_eq!(weixin.seen_any(), 1);
    let ended = server.call(&key, &["token", "refresh", "--json"]).run();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_ne!(ended.json()[0]["fingerprint"], before["fingerprint"]);
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (2, 0));
}

#[test]
fn wrong_usage() {
    let key = "PLANTED".repeat(7)[..43].to_owned();
    let show = || wxsub(&["token", "show"]).through(UNUSED_BASE, &key);
    show().env("WXSUB_SECRET", SECRET).run().assert_wrong(&["WXSUB_SECRET: is set together with"]);
    show().env("WXSUB_SECRET_FILE", "/nowhere").run().assert_wrong(&["WXSUB_SECRET_FILE: is set"]);
    show().without("WXSUB_KEY").run().assert_wrong(&["WXSUB_KEY: is not set"]);
    show().without("WXSUB_SERVER").run().assert_wrong(&["WXSUB_SERVER: is not set"]);
    show().env("WXSUB_SERVER", "http://192.0.2.1").run().assert_wrong(&["WXSUB_SERVER: uses http://"]);
    show().env("WXSUB_KEY_FILE", "/nowhere").run().assert_wrong(&["is set together with WXSUB_KEY_FILE"]);
    show().args(&["--fetch"]).run().assert_wrong(&["--fetch: "]);
    let ended = show().env("WXSUB_KEY", "PLANTED-short").run();
    ended.assert_wrong(&["WXSUB_KEY: must be 43 letters and digits"]);
    assert!(!ended.err.contains("PLANTED"), "{}", ended.err);
}
