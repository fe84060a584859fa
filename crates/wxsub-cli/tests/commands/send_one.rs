//! `wxsub send`, one message.

use serde_json::json;
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::weixin::{CLASSIC_TOKEN, SEND, STABLE_TOKEN, TEMPLATE, UNUSED_BASE, Weixin};
use super::wxsub::{Ended, file};

/// The only result that was printed.
fn result(ended: &Ended) -> serde_json::Value {
    let mut all = ended.json();
    assert_eq!(all.len(), 1, "{ended:?}");
    all.remove(0)
}

#[test]
fn message_is_sent() {
    let weixin = Weixin::start();
    let ended = weixin.allow("oUser", 7).send("oUser", "7").run();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "sent\n", ""));
    let ended = weixin.allow("-User", 8).send("-User", "8").args(&["--json"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let expected = format!(r#"{{"outcome":"sent","touser":"-User","template_id":"{TEMPLATE}","scene":"8"}}"#);
    assert_eq!(ended.out.trim_end(), expected);
    assert_eq!(weixin.received("oUser"), ["It is here."]);
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(CLASSIC_TOKEN), weixin.seen(SEND)), (2, 0, 2));
}

#[test]
fn every_field_arrives() {
    let weixin = Weixin::start();
    let ended = weixin
        .allow("oUser", 7)
        .send("oUser", "7")
        .args(&["--color", "#07C160", "--url", "https://a.example/x?y=1#z"])
        .args(&["--miniprogram-appid", "wx2", "--miniprogram-path", "pages/index?x=1"])
        .run();
    assert_eq!(ended.code, 0, "{ended:?}");
    let mailbox = weixin.sandbox.mailbox(&"oUser".parse().unwrap());
    assert_eq!(
        serde_json::Value::from(mailbox[0].body.clone()),
        json!({
            "touser": "oUser", "template_id": TEMPLATE, "scene": "7", "title": "Parcel",
            "url": "https://a.example/x?y=1#z", "miniprogram": {"appid": "wx2", "pagepath": "pages/index?x=1"},
            "data": {"content": {"value": "It is here.", "color": "#07C160"}},
        })
    );
}

#[test]
fn content_comes_from_a_file() {
    let weixin = Weixin::start();
    let path = file("content.txt", "one\ntwo\n\n");
    let call = |scene, path: &str| {
        weixin
            .call(&["send", "--to", "oUser", "--template", TEMPLATE, "--scene", scene, "--title", "-T"])
            .args(&["--content-file", path])
    };
    assert_eq!(weixin.allow("oUser", 1).allow("oUser", 2).received("oUser").len(), 0);
    assert_eq!(call("1", &path).run().code, 0);
    assert_eq!(call("2", "-").input("three\r\n").run().code, 0);
    assert_eq!(weixin.received("oUser"), ["one\ntwo\n", "three"]);
    call("3", "/nonexistent").run().assert_wrong(&["--content-file: /nonexistent cannot be read"]);
    call("3", "-").input(&b"\xff"[..]).run().assert_wrong(&["--content-file: must be UTF-8 text"]);
    call("3", "-").input("\n").run().assert_wrong(&["--content: is empty"]);
    call("3", "-")
        .input("x".repeat(1 << 20))
        .run()
        .assert_wrong(&["--content-file: - cannot be read: it has more than 65536 bytes"]);
}

#[test]
fn used_grant_is_refused() {
    let weixin = Weixin::start();
    let ended = weixin.send("oUser", "7").args(&["--json"]).run();
    assert_eq!(ended.code, 3);
    let result = result(&ended);
    let rid = result["rid"].as_str().unwrap();
    assert!(result["errmsg"].as_str().unwrap().contains(rid));
    assert_eq!(
        result,
        json!({
            "outcome": "refused", "touser": "oUser", "template_id": TEMPLATE, "scene": "7", "errcode": 43101,
            "errmsg": result["errmsg"], "rid": rid, "remedy": "stop", "stage": "send",
        })
    );
    assert_eq!(ended.err.lines().count(), 1);
    for text in
        ["error: Weixin refused the message: errcode 43101", "this means: ", "do not send it again", rid]
    {
        assert!(ended.err.contains(text), "{text:?} is not in {}", ended.err);
    }
    let ended = weixin.send("oUser", "7").run();
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
}

#[test]
fn message_that_was_not_sent_has_cause_and_remedy() {
    let weixin = Weixin::start();
    let refused = weixin.send("oUser", "7").env("WXSUB_SECRET", "PLANTED-wrong").run();
    assert!(!refused.said(4, "the message was not sent").err.contains("PLANTED"));
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 0));
    let unreached = weixin.send("oUser", "7").env("WXSUB_API_BASE", UNUSED_BASE).run();
    unreached.said(4, "the message was not sent; it is safe to try again");
    weixin.block_address().send("oUser", "7").run().said(4, "the address is 127.0.0.1");
}

#[test]
fn stale_token_is_replaced() {
    let weixin = Weixin::start();
    weixin.allow("oUser", 7).fault(SEND, Fault::ErrCode(ErrCode::ACCESS_TOKEN_EXPIRED));
    // The same token comes again, so a forced refresh follows.
    let ended = weixin.send("oUser", "7").run();
    assert_eq!((ended.code, ended.out.as_str()), (0, "sent\n"), "{ended:?}");
    assert_eq!((weixin.seen(SEND), weixin.received("oUser").len()), (2, 1));
}

#[test]
fn second_host_is_used_while_the_first_cannot_be_reached() {
    let weixin = Weixin::start();
    weixin.allow("oUser", 7);
    let ended =
        weixin.send("oUser", "7").env("WXSUB_API_BASE", &format!("{UNUSED_BASE}, {}", weixin.base)).run();
    assert_eq!((ended.code, ended.out.as_str()), (0, "sent\n"), "{ended:?}");
    assert_eq!(weixin.received("oUser").len(), 1);
}

#[test]
fn all_problems_are_named_before_any_request() {
    let weixin = Weixin::start();
    let call = weixin
        .call(&["send", "--to", "a b", "--template", "", "--scene", "10001", "--title", "0123456789abcdef"])
        .args(&["--content", "a\rb", "--color", "red", "--url", "ftp://x", "--miniprogram-appid", "wx2"])
        .env("WXSUB_SECRET", "");
    call.run().assert_wrong(&[
        "WXSUB_SECRET: is not set",
        "--to: ",
        "--template: is empty",
        "--scene: must be",
        "--title: has 16 characters",
        "--content: has a carriage return",
        "--color: ",
        "--url: ",
        "--miniprogram-path: is missing",
    ]);
    weixin.call(&["send"]).run().assert_wrong(&[
        "--to: is missing",
        "--template: is missing",
        "--scene: is missing",
        "--title: is missing",
        "--content: is missing",
    ]);
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn invalid_message_has_a_json_result() {
    let weixin = Weixin::start();
    let ended = weixin.send("oUser", "07").args(&["--json"]).run();
    assert_eq!(ended.code, 2);
    let result = result(&ended);
    assert_eq!((&result["outcome"], &result["touser"]), (&json!("invalid"), &json!("oUser")));
    assert_eq!((&result["problems"][0]["field"], result.get("scene")), (&json!("scene"), None));
    assert!(ended.err.contains("error: --scene: must be"));
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn conflicting_flags_are_usage_errors() {
    let weixin = Weixin::start();
    let wrong = [
        ["--content-file", "-"],
        ["--file", "-"],
        ["--concurrency", "3"],
        ["--from-line", "3"],
        ["--lines", "3"],
        ["--limit", "3"],
        ["--rate", "3/s"],
        ["--on-error", "continue"],
        ["--timeout", "0"],
        ["--timeout", "soon"],
        ["--secret", "PLANTED"],
    ];
    for arguments in &wrong {
        let ended = weixin.send("oUser", "7").args(arguments).run();
        ended.assert_wrong(&["error: "]);
        assert!(!ended.err.contains("PLANTED"), "{}", ended.err);
    }
    for arguments in [
        ["--concurrency", "0"],
        ["--concurrency", "1025"],
        ["--from-line", "0"],
        ["--lines", "0"],
        ["--limit", "0"],
        ["--rate", "10"],
        ["--on-error", "ask"],
    ] {
        weixin.call(&["send", "--file", "-"]).args(&arguments).run().assert_wrong(&[arguments[0]]);
    }
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn classic_endpoint_gives_a_warning() {
    let weixin = Weixin::start();
    let ended = weixin.allow("oUser", 7).send("oUser", "7").env("WXSUB_TOKEN_ENDPOINT", "token").run();
    assert_eq!((ended.code, ended.out.as_str()), (0, "sent\n"));
    assert!(
        ended.err.starts_with("warning: a fetch from /cgi-bin/token invalidates the access token"),
        "{}",
        ended.err
    );
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (1, 0));
}

#[test]
fn unwritable_result_is_no_success() {
    let weixin = Weixin::start();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = weixin.allow("oUser", 7).send("oUser", "7").run_into(full());
    // It was sent, and what says so is lost.
    assert_eq!(ended.code, 5);
    assert!(ended.err.starts_with("error: standard output cannot be written: "), "{}", ended.err);
    let ended =
        weixin.fault(SEND, Fault::ResetAfterApply).send("oUser", "8").args(&["--json"]).run_into(full());
    assert_eq!(ended.code, 5);
}

#[test]
fn lost_response_is_maybe_sent_and_posted_once() {
    let faults = [
        (Fault::ResetAfterApply, 1),
        (Fault::ResetBeforeApply, 0),
        (Fault::Truncate, 1),
        (Fault::Html, 0),
        (Fault::Status(502), 0),
        (Fault::Status(307), 0),
    ];
    for (fault, received) in faults {
        let weixin = Weixin::start();
        let ended = weixin.allow("oUser", 7).fault(SEND, fault).send("oUser", "7").args(&["--json"]).run();
        ended.said(5, "may have been sent, do not blindly repeat it");
        assert_eq!(
            result(&ended),
            json!({
                "outcome": "maybe_sent", "touser": "oUser", "template_id": TEMPLATE, "scene": "7",
                "remedy": "investigate", "stage": "send",
            })
        );
        assert_eq!((weixin.seen(SEND), weixin.received("oUser").len()), (1, received));
    }
}
