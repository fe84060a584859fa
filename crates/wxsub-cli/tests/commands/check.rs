//! `wxsub check`.

use serde_json::json;

use super::weixin::{Weixin, line};
use super::wxsub::{assert_has, wxsub};

fn good() -> String {
    line("oUser", 7, "Hello")
}

/// Another message to the same user.
fn other() -> String {
    line("oUser", 8, "Hello")
}

#[test]
fn the_second_line_for_one_user_template_and_scene_is_a_problem() {
    let ended = wxsub(&["check", "-"]).input(format!("{}\n{}\n\n{}\n", good(), other(), good())).run();
    let rule = "duplicate of line 1; one consent allows one message for a touser, template_id and scene";
    assert_eq!((ended.code, ended.out), (2, format!("line 4: message: {rule}\n")));
    assert_eq!(ended.err, "3 checked, 1 with problems\n");
}

#[test]
fn all_problems_of_all_lines_are_named() {
    let file = format!(
        "{}\n\n{}\nnonsense\n{}\n",
        good(),
        r#"{"touser":"o","template_id":"T","scene":"07","title":"0123456789abcdef","data":{"content":{"value":"a\rb"}}}"#,
        other()
    );
    let ended = wxsub(&["check", "-"]).input(file.clone()).run();
    assert_eq!(ended.code, 2);
    let places: Vec<_> = ended.out.lines().map(|line| line.rsplit_once(": ").unwrap().0).collect();
    assert_eq!(places, ["line 3: scene", "line 3: title", "line 3: data.content.value", "line 4: message"]);
    assert_eq!(ended.err, "4 checked, 2 with problems\n");

    let ended = wxsub(&["check", "-", "--json"]).input(file).run();
    assert_eq!(ended.code, 2);
    let output = ended.json();
    let lines: Vec<_> = output.iter().map(|output| output["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 3, 4, 5]);
    assert_eq!(output[0], json!({"line": 1, "problems": []}));
    assert_eq!(
        output[1]["problems"][1],
        json!({"field": "title", "rule": "has 16 characters, at most 15 are allowed; shorten it"})
    );
}

#[test]
fn valid_messages_print_nothing() {
    for input in [
        good(),
        format!("\n{}\r\n\r\n{}\r\n", good(), other()),
        format!("\u{feff}{}\n\u{feff}{}", good(), other()),
        good().replacen('{', "{\"miniprogram\":\"\",\"url\":\"\",", 1),
    ] {
        let ended = wxsub(&["check", "-"]).input(input).run();
        assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:?}");
    }
    let ended = wxsub(&["check", "-"]).input("\n\n").run();
    assert_eq!((ended.code, ended.err.as_str()), (0, "the file has no message\n"));
}

#[test]
fn message_may_span_several_lines() {
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&good()).unwrap()).unwrap();
    assert_eq!(wxsub(&["check", "-"]).input(pretty.clone()).run().code, 0);
    let ended = wxsub(&["check", "-", "--json"]).input(format!("\n{}", pretty.replace("Parcel", ""))).run();
    assert_eq!((ended.code, ended.json().len()), (2, 1));
    assert_eq!(ended.json()[0]["line"], 2);
    assert_eq!(ended.json()[0]["problems"][0]["field"], "title");
}

#[test]
fn hostile_file_is_rejected() {
    let long = "x".repeat(100_000);
    let ended = wxsub(&["check", "-"]).input(format!("{}\n{long}\n{}", good(), other())).run();
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (2, "line 2: message: must be a line of at most 65536 bytes\n")
    );
    let ended = wxsub(&["check", "-"]).input(&b"{\n\xff\xfe{\n\x1b[31m\n"[..]).run();
    assert_eq!((ended.code, ended.out.lines().count()), (2, 3));
    let missing = wxsub(&["check", "/nonexistent/file"]).run();
    missing.assert_wrong(&[
        "error: /nonexistent/file cannot be read: ",
        "; check the path and its permissions\n",
    ]);
    wxsub(&["check", "/"]).run().assert_wrong(&["error: / cannot be read"]);
    wxsub(&["check"]).run().assert_wrong(&["required"]);
}

/// A file that is no JSON Lines has one problem, and nothing of it is sent.
#[test]
fn what_is_wrong_with_a_whole_file_is_named_once() {
    let (weixin, good) = (Weixin::start(), good());
    let gbk = [&b"{\"title\":\"\xc4\xe3\xba\xc3\"}\n"[..], good.as_bytes()].concat();
    for (input, said) in [
        (gbk, "error: - cannot be read: it is not UTF-8 text, most likely GBK; save it as UTF-8"),
        (format!("{good},\n{good}\n").into_bytes(), "error: - cannot be read: its lines end with a comma"),
    ] {
        wxsub(&["check", "-"]).input(input.clone()).run().assert_wrong(&[said]);
        weixin.call(&["send", "--file", "-"]).input(input).run().assert_wrong(&[said]);
    }
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn a_near_miss_is_corrected() {
    let line = good().replace("touser", "toUser").replace(
        "\"title\"",
        "\"miniprogram\":{\"appid\":\"wx2\",\"path\":\"pages/index\"},\"color\":\"#FF0000\",\"title\"",
    );
    let ended = wxsub(&["check", "-"]).input(line).run();
    assert_has(
        &ended.out,
        &[
            "line 1: message: has an unknown member \"toUser\"; the right name is touser",
            "line 1: message: has an unknown member \"color\"; the right name is data.content.color",
            "line 1: miniprogram: has an unknown member \"path\"; the right name is pagepath",
        ],
    );
}
