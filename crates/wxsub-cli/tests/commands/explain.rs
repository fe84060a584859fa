//! `wxsub explain`.

use serde_json::json;

use super::wxsub::wxsub;

#[test]
fn errcode_is_explained_for_both_operations() {
    let ended = wxsub(&["explain", "40001"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines[0], "40001 invalid_credential");
    assert!(lines[1].starts_with("on a token call: the AppSecret is wrong"), "{}", ended.out);
    assert_eq!(lines[2], "  what to do: correct the configuration, here or in Weixin's console");
    assert!(lines[3].starts_with("on a send: the access token is not this app's latest"));
    assert!(lines[4].starts_with("  what to do: refresh the access token"));
    assert!(lines[5].starts_with("documentation: https://developers.weixin.qq.com/"));
    // A line that is the same for both is printed once.
    assert_eq!(wxsub(&["explain", "40164"]).run().out.matches("what to do").count(), 1);
}

#[test]
fn explanation_is_available_in_chinese() {
    let ended = wxsub(&["explain", "-1", "--lang", "zh"]).run();
    ended.printed(0, "获取 access_token 时：微信系统繁忙\n  处理建议：稍后重试\n");
    let output = &wxsub(&["explain", "43101", "--lang", "zh", "--json"]).run().json()[0];
    assert_eq!(output["send"]["remedy"], "stop");
    assert_eq!(output["send"]["advice"], "不要重发；请用户重新授权");
    wxsub(&["explain", "-1"]).env("LC_MESSAGES", "zh_CN.UTF-8").run().printed(0, "微信系统繁忙");
    let ended = wxsub(&["--lang", "en", "explain", "-1"]).env("LANG", "zh_CN.UTF-8").run();
    assert!(!ended.out.contains("微信"), "{}", ended.out);
}

#[test]
fn unknown_errcode_is_no_error() {
    let ended = wxsub(&["explain", "99999"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.starts_with("99999 unknown\nunknown to wxsub; look the number up"), "{}", ended.out);
    assert!(ended.out.contains("do not repeat"));
    let output = &wxsub(&["explain", "99999", "--json"]).run().json()[0];
    let names: Vec<_> = output.as_object().unwrap().keys().collect();
    assert_eq!(names, ["errcode", "known", "send", "token_call"]);
    assert_eq!((&output["known"], &output["send"]["remedy"]), (&json!(false), &json!("investigate")));
}

#[test]
fn the_control_servers_own_code_is_known() {
    let ended = wxsub(&["explain", "Error code: 900504, message: the message may have been sent"]).run();
    assert!(
        ended.out.starts_with("900504 maybe_sent\nthe control server's own code: the message may"),
        "{ended:?}"
    );
    let explained = &wxsub(&["explain", "900504", "--json", "--lang", "zh"]).run().json()[0];
    assert_eq!((&explained["known"], &explained["send"]["remedy"]), (&json!(true), &json!("investigate")));
    assert_eq!(explained["send"]["meaning"], "中控服务器自定义的错误码：消息可能已发出");
}

#[test]
fn pasted_error_gives_address_and_trace_id() {
    let error = r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 5fb21886-7daecfa3-560b9e31"}"#;
    for call in [
        wxsub(&["explain", error, "--json"]),
        wxsub(&["explain", "-", "--json"]).input(error),
        wxsub(&["explain", &format!("error: Weixin refused: {}", error.replace('"', "")), "--json"]),
    ] {
        let output = &call.run().json()[0];
        let found = (&output["errcode"], &output["ip"], &output["rid"]);
        assert_eq!(found, (&json!(40164), &json!("203.0.113.7"), &json!("5fb21886-7daecfa3-560b9e31")));
    }
    let ended = wxsub(&["explain", error]).run();
    assert!(ended.out.contains("\nIP address: 203.0.113.7\ntrace id for Weixin's support: 5fb2"));
}

#[test]
fn text_without_exactly_one_code_is_wrong_usage() {
    wxsub(&["explain", "errcode: none"]).run().assert_wrong(&["CODE: must be a whole number such as 40001"]);
    wxsub(&["explain", "1", "--lang", "fr"]).run().assert_wrong(&["possible values: en, zh"]);
    wxsub(&["explain"]).run().assert_wrong(&["required"]);
}
