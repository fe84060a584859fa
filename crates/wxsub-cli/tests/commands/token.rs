//! `wxsub token`.

use serde_json::{Value, json};
use wxsub_sandbox::Fault;

use super::weixin::{APPID, CLASSIC_TOKEN, STABLE_TOKEN, UNUSED_BASE, Weixin};

#[test]
fn show_prints_the_token_only_with_reveal() {
    let weixin = Weixin::start();
    let ended = weixin.call(&["token", "show", "--json"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let shown = &ended.json()[0];
    let names: Vec<_> = shown.as_object().unwrap().keys().collect();
    assert_eq!(names, ["appid", "endpoint", "expires_in", "fingerprint", "generation"]);
    assert_eq!((&shown["appid"], &shown["endpoint"]), (&json!(APPID), &json!("stable_token")));
    assert!((7000..=7200).contains(&shown["expires_in"].as_u64().unwrap()));

    let revealed = weixin.call(&["token", "show", "--json", "--reveal"]).run();
    let token = revealed.json()[0]["access_token"].as_str().unwrap().to_owned();
    // A second call gives the same token.
    assert_eq!(revealed.json()[0]["fingerprint"], shown["fingerprint"]);
    let plain = weixin.call(&["token", "show"]).run();
    assert!(plain.out.contains("fingerprint") && plain.out.contains(" min ") && !plain.out.contains(&token));
    assert!(weixin.call(&["token", "show", "--reveal"]).run().out.contains(&token));
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(CLASSIC_TOKEN)), (4, 0));
}

#[test]
fn classic_endpoint_is_called_only_on_demand() {
    let weixin = Weixin::start();
    let call = |arguments: &[&str]| weixin.call(arguments).env("WXSUB_TOKEN_ENDPOINT", "token");
    call(&["token", "show"]).run().assert_wrong(&["WXSUB_TOKEN_ENDPOINT: is token", "add --fetch"]);
    assert_eq!(weixin.seen_any(), 0);
    for call in
        [call(&["token", "show"]).args(&["--fetch", "--json"]), call(&["token", "refresh"]).args(&["--json"])]
    {
        let ended = call.run();
        assert_eq!((ended.code, &ended.json()[0]["endpoint"]), (0, &json!("token")));
        assert!(ended.err.starts_with("warning: a fetch from /cgi-bin/token invalidates"), "{}", ended.err);
    }
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(CLASSIC_TOKEN)), (0, 2));
}

#[test]
fn refresh_invalidates_the_token_and_says_so() {
    let weixin = Weixin::start();
    let fingerprint = |arguments: &[&str]| {
        let ended = weixin.call(arguments).run();
        (ended.json()[0]["fingerprint"].clone(), ended.err)
    };
    let (before, _) = fingerprint(&["token", "show", "--json"]);
    // Weixin allows no forced refresh within 30 s of another token.
    weixin.sandbox.advance(std::time::Duration::from_secs(60));
    let (after, said) = fingerprint(&["token", "refresh", "--json"]);
    assert!(said.starts_with("warning: a forced refresh invalidates the access token"), "{said}");
    let (now, _) = fingerprint(&["token", "show", "--json"]);
    assert!(before != after && after == now, "{before} {after} {now}");
    assert_eq!(weixin.seen(STABLE_TOKEN), 3);
}

#[test]
fn refresh_calls_the_next_host_only_if_nothing_was_sent() {
    let (weixin, other) = (Weixin::start(), Weixin::start());
    let refresh = |bases: String| weixin.call(&["token", "refresh"]).env("WXSUB_API_BASE", &bases).run();
    let ended = refresh(format!("{UNUSED_BASE},{}", weixin.base));
    assert_eq!((ended.code, weixin.seen(STABLE_TOKEN)), (0, 1), "{ended:?}");
    weixin.fault(STABLE_TOKEN, Fault::ResetAfterApply);
    let ended = refresh(format!("{},{}", weixin.base, other.base));
    assert_eq!((ended.code, weixin.seen(STABLE_TOKEN), other.seen_any()), (5, 2, 0), "{ended:?}");
    let ended = refresh(format!("{UNUSED_BASE},http://127.0.0.1:2"));
    ended.said(4, "it is safe to try again");
}

#[test]
fn failures_have_a_remedy() {
    let weixin = Weixin::start();
    for what in ["show", "refresh"] {
        let ended = weixin.call(&["token", what]).env("WXSUB_SECRET", "PLANTED-wrong").run();
        assert_eq!((ended.code, ended.out.as_str()), (3, ""));
        assert!(
            ended.err.contains("errcode 40125") && ended.err.contains("correct the configuration"),
            "{}",
            ended.err
        );
        assert!(!ended.err.contains("PLANTED"));
        let ended = weixin.call(&["token", what]).env("WXSUB_API_BASE", UNUSED_BASE).run();
        assert_eq!((ended.code, ended.out.as_str()), (4, ""), "{}", ended.err);
    }
    // A forced refresh is tried once. Its outcome is unknown.
    let before = weixin.seen(STABLE_TOKEN);
    for fault in [Fault::ResetAfterApply, Fault::Html] {
        let ended = weixin.fault(STABLE_TOKEN, fault).call(&["token", "refresh"]).run();
        assert_eq!((ended.code, ended.out.as_str()), (5, ""));
        ended.says("check the current token before you repeat this");
    }
    assert_eq!(weixin.seen(STABLE_TOKEN), before + 2);
    // Showing a token is retried, because it changes nothing.
    let ended = weixin.fault(STABLE_TOKEN, Fault::ResetAfterApply).call(&["token", "show", "--json"]).run();
    assert_eq!((ended.code, ended.json().iter().map(Value::is_object).collect()), (0, vec![true]));
}
