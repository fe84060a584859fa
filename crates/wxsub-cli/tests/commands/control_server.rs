//! `wxsub send` and `wxsub token` through a control server, on a machine that has no AppSecret.

use std::fs;

use serde_json::json;
use wxsub_sandbox::Fault;

use super::interrupt::signal;
use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, TEMPLATE, UNUSED_BASE, Weixin, line};
use super::wxsub::{Wxsub, file, wxsub};

/// A call with only a server and a key.
fn call<const N: usize>(base: &str, key: &str, arguments: [&str; N]) -> Wxsub {
    wxsub(arguments).env("WXSUB_SERVER", base).env("WXSUB_KEY", key).env("WXSUB_APPID", APPID)
}

fn send(base: &str, key: &str, scene: &str) -> Wxsub {
    let to = ["send", "--to", "oUser", "--template", TEMPLATE, "--scene", scene, "--json"];
    call(base, key, to).args(["--title", "Parcel", "--content", "It is here."])
}

#[test]
fn key_with_send_scope_can_only_send() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", "\"message:send\"");
    let server = Served::start(&config("way_send.toml", &weixin.base, &lines));
    let sent = send(&server.base, &key, "7");
    weixin.allow("oUser", 7);
    let ended = sent.run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    let expected = format!(r#"{{"outcome":"sent","touser":"oUser","template_id":"{TEMPLATE}","scene":"7"}}"#);
    assert_eq!(ended.out.trim_end(), expected);
    let ended = send(&server.base, &key, "7").run();
    let result = &ended.json()[0];
    assert_eq!((ended.code, &result["outcome"], &result["errcode"]), (3, &json!("refused"), &json!(43101)));
    assert_eq!((&result["touser"], &result["stage"]), (&json!("oUser"), &json!("send")));
    assert!(result["rid"].is_string() && ended.err.contains("43101"), "{ended:?}");
    for what in ["show", "refresh"] {
        let ended = call(&server.base, &key, ["token", what]).run();
        assert_eq!((ended.code, ended.out.as_str()), (4, ""), "{ended:?}");
        assert!(ended.err.contains("responded with 403"), "{}", ended.err);
    }
    // Only the server fetched a token, and only one.
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 0, 2));
    assert_eq!(weixin.received("oUser"), ["It is here."]);
}

#[test]
fn file_is_sent_through_the_server() {
    let (weixin, server, key) = Served::before_sandbox("way_file", "");
    weixin.allow("oUser", 1).allow("oUser", 2);
    let text = format!("{}\nnonsense\n{}\n", line("oUser", 1, "one"), line("oUser", 2, "two"));
    let ended = call(&server.base, &key, ["send", "--file", "-"]).input(text).run();
    let outcomes: Vec<_> = ended.json().iter().map(|result| result["outcome"].clone()).collect();
    assert_eq!((ended.code, outcomes), (2, vec![json!("sent"), json!("invalid"), json!("sent")]));
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.received("oUser").len()), (1, 2));
}

#[test]
fn outcomes_through_a_server_are_exact() {
    let weixin = Weixin::start();
    let ((key, lines), (other, other_lines)) = (client("orders", ALL), client("other", ALL));
    let path = config("way_faults.toml", &weixin.base, &lines);
    let mut server = Served::start(&path);
    let ended = send(UNUSED_BASE, &key, "1").run();
    assert_eq!((ended.code, &ended.json()[0]["outcome"]), (4, &json!("not_sent")), "{ended:?}");
    // The response is not from a control server.
    let ended = send(&weixin.base, &key, "1").run();
    assert_eq!((ended.code, &ended.json()[0]["outcome"]), (5, &json!("maybe_sent")), "{ended:?}");
    // The response of Weixin to the server was lost.
    weixin.allow("oUser", 1).fault(SEND, Fault::ResetAfterApply);
    let ended = send(&server.base, &key, "1").run();
    assert_eq!((ended.code, &ended.json()[0]["outcome"]), (5, &json!("maybe_sent")), "{ended:?}");
    assert_eq!(weixin.seen(SEND), 1);
    // A revoked key.
    fs::write(&path, fs::read_to_string(&path).unwrap().replace(&lines, &other_lines)).unwrap();
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was reloaded");
    let ended = send(&server.base, &key, "1").run();
    let result = &ended.json()[0];
    assert_eq!(
        (ended.code, &result["outcome"], &result["remedy"]),
        (4, &json!("not_sent"), &json!("fix_config"))
    );
    assert!(
        ended.err.contains("no known key")
            && ended.err.contains("check WXSUB_KEY")
            && !ended.err.contains(&key),
        "{}",
        ended.err
    );
    let ended = call(&server.base, &other, ["token", "show"]).run();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn server_without_a_token_responds_that_nothing_was_sent() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    weixin.sandbox.add_fault(CLASSIC_TOKEN, 99, Fault::Hang);
    let limits = "[limits]\nrequest_timeout_s = 1\n";
    let server = Served::start(&config("way_slow.toml", &weixin.base, &(lines + limits)));
    let ended = send(&server.base, &key, "1").run();
    assert_eq!((ended.code, &ended.json()[0]["outcome"]), (4, &json!("not_sent")), "{ended:?}");
    assert_eq!(weixin.seen(SEND), 0);
}

#[test]
fn token_of_the_server_is_not_shown() {
    let (weixin, server, key) = Served::before_sandbox("way_token", "");
    let token = server.token(&key);
    let secret = token["access_token"].as_str().unwrap();
    let shown = call(&server.base, &key, ["token", "show", "--json"]).run();
    let before = &shown.json()[0];
    assert_eq!((shown.code, &before["generation"]), (0, &token["generation"]), "{shown:?}");
    assert_eq!((&before["appid"], &before["endpoint"]), (&json!(APPID), &json!("control_server")));
    assert!(!shown.out.contains(secret) && !shown.err.contains(secret));
    let path = file("way_key", &format!("{key}\n"));
    let revealed = call(&server.base, &key, ["token", "show", "--reveal"])
        .without("WXSUB_KEY")
        .env("WXSUB_KEY_FILE", &path)
        .run();
    assert!(revealed.out.contains(secret), "{revealed:?}");
    assert_eq!(weixin.seen_any(), 1);
    let ended = call(&server.base, &key, ["token", "refresh", "--json"]).run();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_ne!(ended.json()[0]["fingerprint"], before["fingerprint"]);
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (2, 0));
}

#[test]
fn wrong_usage() {
    let key = "PLANTED".repeat(7)[..43].to_owned();
    let show = || call(UNUSED_BASE, &key, ["token", "show"]);
    show().env("WXSUB_SECRET", SECRET).run().assert_wrong(&["WXSUB_SECRET: is set together with"]);
    show().env("WXSUB_SECRET_FILE", "/nowhere").run().assert_wrong(&["WXSUB_SECRET_FILE: is set"]);
    show().without("WXSUB_KEY").run().assert_wrong(&["WXSUB_KEY: is not set"]);
    show().without("WXSUB_SERVER").run().assert_wrong(&["WXSUB_SERVER: is not set"]);
    show().env("WXSUB_SERVER", "http://192.0.2.1").run().assert_wrong(&["WXSUB_SERVER: uses http://"]);
    show().env("WXSUB_KEY_FILE", "/nowhere").run().assert_wrong(&["is set together with WXSUB_KEY_FILE"]);
    show().args(["--fetch"]).run().assert_wrong(&["--fetch: "]);
    let ended = show().env("WXSUB_KEY", "PLANTED-short").run();
    ended.assert_wrong(&["WXSUB_KEY: must be 43 letters and digits"]);
    assert!(!ended.err.contains("PLANTED"), "{}", ended.err);
}
