//! `wxsub check`.

use serde_json::json;

use super::weixin::{Weixin, line};
use super::wxsub::wxsub;

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
    for input in [good(), format!("\n{}\r\n\r\n{}\r\n", good(), other()), format!("\u{feff}{}", good())] {
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
    wxsub(&["check", "/nonexistent/file"]).run().assert_wrong(&["error: /nonexistent/file cannot be read"]);
    wxsub(&["check", "/"]).run().assert_wrong(&["error: / cannot be read"]);
    wxsub(&["check"]).run().assert_wrong(&["required"]);
}

/// What editors, PowerShell and export functions make of a file of messages.
#[test]
fn what_is_wrong_with_a_whole_file_is_named_once() {
    let good = good();
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&good).unwrap()).unwrap();
    let utf16 = |mark: &str| format!("{mark}{good}\r\n{good}\r\n").encode_utf16().collect::<Vec<_>>();
    let gbk = [&b"{\"title\":\"\xc4\xe3\xba\xc3\"}\n"[..], good.as_bytes()].concat();
    for (input, said) in [
        (
            utf16("\u{feff}").into_iter().flat_map(u16::to_le_bytes).collect(),
            "it is UTF-16 text; save it as UTF-8",
        ),
        (
            utf16("\u{feff}").into_iter().flat_map(u16::to_be_bytes).collect(),
            "it is UTF-16 text; save it as UTF-8",
        ),
        (utf16("").into_iter().flat_map(u16::to_le_bytes).collect(), "it is UTF-16 text; save it as UTF-8"),
        (b"{\"title\":\"\xc4\xe3\xba\xc3\"}".to_vec(), "it is not UTF-8 text, most likely GBK"),
        (gbk, "it is not UTF-8 text, most likely GBK; save it as UTF-8"),
        (format!("[{good},{good}]").into_bytes(), "it is a JSON array; write one object per line"),
        (format!("[\n{good},\n{good}\n]\n").into_bytes(), "it is a JSON array; write one object per line"),
        (format!("{pretty}\n{pretty}\n").into_bytes(), "its objects span several lines"),
        (format!("{good},\n{good}\n").into_bytes(), "its lines end with a comma"),
    ] {
        let said = format!("error: - cannot be read: {said}");
        let input: Vec<u8> = input;
        wxsub(&["check", "-"]).input(input.clone()).run().assert_wrong(&[&said]);
        let weixin = Weixin::start();
        let ended = weixin.call(&["send", "--file", "-"]).input(input).run();
        assert_eq!((ended.code, ended.out.as_str(), weixin.seen_any()), (2, "", 0), "{said}: {ended:?}");
        assert!(ended.err.contains(&said), "{said}: {}", ended.err);
    }
}

#[test]
fn a_near_miss_is_corrected() {
    let line = good().replace("touser", "toUser").replace(
        "\"title\"",
        "\"miniprogram\":{\"appid\":\"wx2\",\"path\":\"pages/index\"},\"color\":\"#FF0000\",\"title\"",
    );
    let ended = wxsub(&["check", "-"]).input(line).run();
    for said in [
        "line 1: message: has an unknown member \"toUser\"; the right name is touser",
        "line 1: message: has an unknown member \"color\"; the right name is data.content.color",
        "line 1: miniprogram: has an unknown member \"path\"; the right name is pagepath",
    ] {
        assert!(ended.out.lines().any(|line| line == said), "{said} is not in {}", ended.out);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_message() {
    let joined = format!("\u{feff}{}\n\u{feff}{}\n", line("oUser", 1, "a"), line("oUser", 2, "b"));
    assert_eq!(wxsub(&["check", "-"]).input(joined).run().code, 0);
}

#[test]
fn empty_optional_members_count_as_absent() {
    let line = good().replacen('{', "{\"miniprogram\":\"\",\"url\":\"\",", 1);
    assert_eq!(wxsub(&["check", "-"]).input(line).run().code, 0);
}
