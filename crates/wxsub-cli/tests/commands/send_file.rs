//! `wxsub send --file`.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::weixin::{Gate, SEND, TEMPLATE, Weixin, allow, line, pointed_at};
use super::wxsub::{ended, file, wxsub};

fn all_sent(lines: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    lines.map(|number| (number, "sent".to_owned())).collect()
}

#[test]
fn slow_response_keeps_its_place() {
    let gate = Gate::start();
    let contents = ["hold this one", "two", "three", "four"];
    let text: Vec<_> = (1..).zip(contents).map(|(scene, content)| line("oA", scene, content)).collect();
    (1..=4).for_each(|scene| allow(&gate.sandbox, "oA", scene));
    let path = file("late.jsonl", &text.join("\n"));
    let child = pointed_at(&gate.base, wxsub(&["send", "--file", &path, "--concurrency", "3"])).start();
    // The fourth waits for the first, although the second and third are done.
    gate.wait_for(3);
    gate.open();
    assert_eq!(ended(child).outcomes(), all_sent(1..=4));
    gate.wait_for(1);
}

#[test]
fn each_line_has_its_outcome_and_the_largest_exit_code_wins() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oB", 2);
    let text = [
        line("oA", 1, "Hello"),
        String::new(),
        r#"{"touser":"oX","scene":7,"title":"","tilte":"Parcel"}"#.to_owned(),
        "x".repeat(70_000),
        "nonsense".to_owned(),
        line("oA", 2, "Hello again"),
        line("oB", 2, "Hello"),
    ];
    let ended = weixin.call(&["send", "--file", "-", "--concurrency", "1"]).input(text.join("\n")).run();
    assert_eq!(ended.code, 3, "{}", ended.err);
    let expected = [(1, "sent"), (3, "invalid"), (4, "invalid"), (5, "invalid"), (6, "refused"), (7, "sent")];
    assert_eq!(ended.outcomes(), expected.map(|(line, outcome)| (line, outcome.to_owned())));
    let record = ended.json();
    let fields: Vec<_> =
        record[1]["problems"].as_array().unwrap().iter().map(|problem| &problem["field"]).collect();
    assert_eq!(fields, ["template_id", "title", "data.content.value", "message"]);
    assert_eq!((&record[1]["touser"], &record[1]["scene"]), (&json!("oX"), &json!("7")));
    let rule = "must be a line of at most 65536 bytes";
    assert_eq!(
        record[2],
        json!({"outcome": "invalid", "problems": [{"field": "message", "rule": rule}], "line": 4})
    );
    assert_eq!(
        (&record[4]["errcode"], &record[4]["stage"], &record[4]["scene"]),
        (&json!(43101), &json!("send"), &json!("2"))
    );
    ended.says("first refused: line 6: Weixin refused the message: errcode 43101");
    ended.says("first invalid: line 3: template_id: is missing");
    assert!(ended.err.ends_with("2 sent, 1 refused, 3 invalid, 0 not sent, 0 maybe sent\n"), "{}", ended.err);
    assert_eq!(weixin.seen(SEND), 3);
}

#[test]
fn it_sends_the_selected_lines() {
    let weixin = Weixin::start();
    let text = (1..=9).map(|scene| line("oA", scene, "Hello")).collect::<Vec<_>>().join("\n\n");
    for scene in 1..=9 {
        weixin.allow("oA", scene);
    }
    let ended = weixin.call(&["send", "--file", "-", "--from-line", "14"]).input(text.clone()).run();
    assert_eq!((ended.code, ended.outcomes()), (0, all_sent([15, 17].into_iter())));
    let path = file("selected.jsonl", &text);
    let ended = weixin.call(&["send", "--file", &path, "--lines", "13,1-2,5-9"]).run();
    assert_eq!((ended.code, ended.outcomes()), (0, all_sent([1, 5, 7, 9, 13].into_iter())));
    assert_eq!(weixin.seen(SEND), 7);
}

#[test]
fn a_selection_past_the_end_is_wrong_usage() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oA", 2);
    let text = format!("{}\n{}\n", line("oA", 1, "one"), line("oA", 2, "two"));
    let path = file("past_the_end.jsonl", &text);
    for (flag, value) in [("--from-line", "3"), ("--lines", "3-"), ("--lines", "1,4"), ("--lines", "2-3")] {
        let said =
            format!("error: {flag}: selects line {}, but the file has 2", if value == "1,4" { 4 } else { 3 });
        weixin.call(&["send", "--file", &path, flag, value]).run().assert_wrong(&[&said]);
        weixin.call(&["send", "--file", &path, flag, value, "--dry-run"]).run().assert_wrong(&[&said]);
    }
    weixin.call(&["send", "--file", &path, "--lines", "2-1"]).run().assert_wrong(&["--lines"]);
    assert_eq!(weixin.seen_any(), 0);
    // Standard input is read once only, so what it lacks is known at its end.
    let ended = weixin.call(&["send", "--file", "-", "--lines", "1,4"]).input(text).run();
    assert_eq!((ended.code, ended.outcomes()), (2, all_sent(1..=1)));
    ended.says("error: line 4 is selected, but the input has 2");
}

#[test]
fn the_id_comes_back_and_does_not_reach_weixin() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oA", 2);
    let with_id = |scene, id: &str| line("oA", scene, "Hello").replacen('{', &format!("{{\"id\":{id},"), 1);
    let text =
        [with_id(1, r#""order 7""#), with_id(2, "18446744073709551615"), with_id(3, "1.5"), with_id(1, "9")];
    let text = text.join("\n");
    let ended = weixin.call(&["send", "--file", "-"]).input(text.clone()).run();
    let ids: Vec<_> =
        ended.json().iter().map(|record| (record["outcome"].clone(), record["id"].clone())).collect();
    let expected = [
        (json!("sent"), json!("order 7")),
        (json!("sent"), json!(u64::MAX)),
        (json!("invalid"), Value::Null),
        (json!("invalid"), json!(9)),
    ];
    assert_eq!((ended.code, ids), (2, expected.to_vec()));
    for received in weixin.sandbox.mailbox(&"oA".parse().unwrap()) {
        assert_eq!(received.body.get("id"), None);
    }
    let ended = wxsub(&["check", "-", "--json"]).input(text).run();
    let record: Vec<_> =
        ended.json().iter().map(|record| (record["id"].clone(), record["problems"].clone())).collect();
    assert_eq!(record[0], (json!("order 7"), json!([])));
    assert_eq!(record[2].1[0]["field"], "id");
    assert!(record[3].1[0]["rule"].as_str().unwrap().starts_with("duplicate of line 1;"), "{record:?}");
}

#[test]
fn a_duplicate_is_invalid_and_not_posted() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oB", 1);
    let text = [line("oA", 1, "one"), line("oB", 1, "two"), line("oA", 1, "three")].join("\n");
    let ended = weixin.call(&["send", "--file", "-"]).input(text.clone()).run();
    let expected =
        [(1, "sent"), (2, "sent"), (3, "invalid")].map(|(line, outcome)| (line, outcome.to_owned()));
    assert_eq!((ended.code, ended.outcomes()), (2, expected.to_vec()));
    ended.says("first invalid: line 3: message: duplicate of line 1;");
    // Line 1 is not selected, and line 3 is its duplicate all the same.
    weixin.allow("oA", 1);
    let ended = weixin.call(&["send", "--file", "-", "--lines", "3"]).input(text).run();
    assert_eq!((ended.code, weixin.seen(SEND)), (2, 2));
    assert_eq!(weixin.received("oA"), ["one"]);
}

#[test]
fn a_dry_run_posts_nothing_and_fetches_no_token() {
    let weixin = Weixin::start();
    let text = [line("oA", 1, "one"), "nonsense".to_owned(), line("oB", 1, "two"), line("oA", 1, "again")];
    let text = text.join("\n");
    let call =
        |more: &[&str]| weixin.call(&["send", "--file", "-", "--dry-run"]).args(more).input(text.clone());
    let ended = call(&["--lines", "1-"]).env("WXSUB_TOKEN_ENDPOINT", "token").run();
    assert_eq!(ended.code, 2);
    assert_eq!(
        ended.json()[0],
        json!({"would_send": true, "touser": "oA", "template_id": TEMPLATE, "scene": "1", "line": 1})
    );
    let record: Vec<_> =
        ended.json().iter().map(|record| (record["line"].clone(), record["outcome"].clone())).collect();
    let invalid = json!("invalid");
    assert_eq!(record[1..], [(json!(2), invalid.clone()), (json!(3), Value::Null), (json!(4), invalid)]);
    assert_eq!(ended.err, "dry run: 2 would be sent, 2 invalid; nothing was posted\n");
    let ended = call(&["--limit", "1"]).run();
    assert_eq!(ended.err, "dry run: 1 would be sent, 2 invalid, 1 beyond --limit; nothing was posted\n");

    let ended = weixin.send("oUser", "7").args(&["--dry-run"]).run();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "would be sent\n", ""));
    weixin.send("oUser", "70000").args(&["--dry-run"]).run().assert_wrong(&["--scene: must be"]);
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn results_appear_before_the_input_ends() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oA", 2);
    let mut child = weixin.call(&["send", "--file", "-"]).start();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for scene in [1, 2] {
        writeln!(input, "{}", line("oA", scene, "Hello")).unwrap();
        let expected = format!(
            "{{\"outcome\":\"sent\",\"touser\":\"oA\",\"template_id\":\"{TEMPLATE}\",\"scene\":\"{scene}\",\"line\":{scene}}}\n"
        );
        let mut record = vec![0; expected.len()];
        output.read_exact(&mut record).unwrap();
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }
    drop(input);
    assert_eq!(ended(child).code, 0);
}

#[test]
fn closed_stdout_stops_the_batch() {
    let weixin = Weixin::start();
    for scene in 1..=9 {
        weixin.allow("oA", scene);
    }
    let mut child = weixin.call(&["send", "--file", "-", "--concurrency", "1"]).start();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    for scene in 1..=9 {
        // The process may have stopped reading.
        let _ = writeln!(input, "{}", line("oA", scene, "Hello"));
    }
    // The input stays open. The process ends by itself.
    let ended = ended(child);
    drop(input);
    // The result of a message that was sent is lost.
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(
        ended.err.contains("the last line recorded") || ended.err.contains("no line is recorded"),
        "{ended:?}"
    );
    let rest = ended.err.trim_end().rsplit("--lines ").next().unwrap();
    let next: u64 = rest.strip_suffix('-').unwrap().parse().unwrap();
    assert_eq!(weixin.seen(SEND), next - 1);
    assert!(!ended.err.contains("panic"), "{}", ended.err);
}

#[test]
fn unreadable_file_is_a_usage_error() {
    let weixin = Weixin::start();
    weixin
        .call(&["send", "--file", "/nonexistent"])
        .run()
        .assert_wrong(&["error: --file: /nonexistent cannot be read"]);
    weixin.call(&["send", "--file", "/"]).run().assert_wrong(&["error: / cannot be read"]);
    let ended = weixin.call(&["send", "--file", "/dev/null"]).run();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", "no lines in /dev/null\n"));
    assert_eq!(weixin.seen_any(), 0);
}
