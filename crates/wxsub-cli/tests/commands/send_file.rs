//! `wxsub send --file`.

use std::io::{Read, Write};

use serde_json::{Value, json};
use wxsub_sandbox::Fault;

use super::gate::Gate;
use super::weixin::{NOBODY, SEND, STABLE_TOKEN, TEMPLATE, Weixin, allow, line, pointed_at};
use super::wxsub::{Ended, ended, file, wxsub};

fn outcomes(ended: &Ended) -> Vec<(u64, String)> {
    let line = |told: &Value| (told["line"].as_u64().unwrap(), told["outcome"].as_str().unwrap().to_owned());
    ended.json().iter().map(line).collect()
}

fn all_sent(lines: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    lines.map(|number| (number, "sent".to_owned())).collect()
}

#[test]
fn results_come_in_the_order_of_the_lines() {
    let weixin = Weixin::start();
    let mut text = String::new();
    for number in 0..300 {
        let user = format!("oUser{number}");
        weixin.allow(&user, 7);
        text += &format!("{}\n", line(&user, 7, "Hello"));
    }
    let path = file("three_hundred.jsonl", &text);
    let ended = weixin.call(["send", "--file", &path, "--concurrency", "64"]).run();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(outcomes(&ended), all_sent(1..=300));
    for (number, told) in ended.json().iter().enumerate() {
        assert_eq!(told["touser"], format!("oUser{number}"));
    }
    assert_eq!(ended.err, "300 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent\n");
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 300));
}

#[test]
fn a_late_answer_holds_its_place() {
    let gate = Gate::start();
    let contents = ["hold this one", "two", "three", "four"];
    let text: Vec<_> = (1..).zip(contents).map(|(scene, content)| line("oA", scene, content)).collect();
    (1..=4).for_each(|scene| allow(&gate.sandbox, "oA", scene));
    let path = file("late.jsonl", &text.join("\n"));
    let child = pointed_at(&gate.base, wxsub(["send", "--file", &path, "--concurrency", "3"])).start();
    // The fourth waits for the first, though the second and third are done.
    gate.wait_for(3);
    gate.open();
    assert_eq!(outcomes(&ended(child)), all_sent(1..=4));
    gate.wait_for(1);
}

#[test]
fn each_line_has_its_own_end_and_the_largest_code_wins() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oB", 2);
    let text = [
        line("oA", 1, "Hello"),
        String::new(),
        r#"{"touser":"oX","scene":7,"title":"","tilte":"Parcel"}"#.to_owned(),
        "x".repeat(70_000),
        "nonsense".to_owned(),
        line("oA", 1, "Hello again"),
        line("oB", 2, "Hello"),
    ];
    let ended = weixin.call(["send", "--file", "-", "--concurrency", "1"]).input(text.join("\n")).run();
    assert_eq!(ended.code, 3, "{}", ended.err);
    let expected = [(1, "sent"), (3, "invalid"), (4, "invalid"), (5, "invalid"), (6, "refused"), (7, "sent")];
    assert_eq!(outcomes(&ended), expected.map(|(line, outcome)| (line, outcome.to_owned())));
    let told = ended.json();
    let fields: Vec<_> =
        told[1]["problems"].as_array().unwrap().iter().map(|problem| &problem["field"]).collect();
    assert_eq!(fields, ["template_id", "title", "data.content.value", "message"]);
    assert_eq!((&told[1]["touser"], &told[1]["scene"]), (&json!("oX"), &json!("7")));
    let rule = "must be a line of at most 65536 bytes";
    assert_eq!(
        told[2],
        json!({"outcome": "invalid", "problems": [{"field": "message", "rule": rule}], "line": 4})
    );
    assert_eq!(
        (&told[4]["errcode"], &told[4]["stage"], &told[4]["scene"]),
        (&json!(43101), &json!("send"), &json!("1"))
    );
    assert!(
        ended.err.contains("first refused: line 6: Weixin refused the message: errcode 43101"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("first invalid: line 3: template_id: is missing"), "{}", ended.err);
    assert!(ended.err.ends_with("2 sent, 1 refused, 3 invalid, 0 not sent, 0 maybe sent\n"), "{}", ended.err);
    assert_eq!(weixin.seen(SEND), 3);
}

#[test]
fn a_lost_answer_outweighs_everything() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oA", 3).fault(SEND, Fault::ResetAfterApply);
    let text = [line("oA", 1, "one"), line("oA", 2, "two"), line("oA", 3, "three")].join("\n");
    let ended = weixin.call(["send", "--file", "-", "--concurrency", "1"]).input(text).run();
    assert_eq!(ended.code, 5);
    let expected = [(1, "maybe_sent"), (2, "refused"), (3, "sent")];
    assert_eq!(outcomes(&ended), expected.map(|(line, outcome)| (line, outcome.to_owned())));
    assert_eq!((weixin.seen(SEND), weixin.received("oA")), (3, vec!["one".to_owned(), "three".to_owned()]));
}

#[test]
fn without_a_token_every_line_is_told_and_nothing_is_posted() {
    let weixin = Weixin::start();
    let text = (0..50).map(|number| line("oA", number, "Hello")).collect::<Vec<_>>().join("\n");
    let ended = weixin.call(["send", "--file", "-"]).env("WXSUB_SECRET", "wrong").input(text.clone()).run();
    assert_eq!((ended.code, ended.json().len()), (4, 50));
    assert!(ended.json().iter().all(|told| told["outcome"] == "not_sent" && told["errcode"] == 40125));
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 0));
    let ended = weixin.call(["send", "--file", "-"]).env("WXSUB_API_BASE", NOBODY).input(text).run();
    assert_eq!((ended.code, ended.json().len()), (4, 50));
    assert!(ended.err.contains("first not sent: line 1: no usable access token"), "{}", ended.err);
}

#[test]
fn it_goes_on_where_it_is_told() {
    let weixin = Weixin::start();
    let text = (1..=9).map(|scene| line("oA", scene, "Hello")).collect::<Vec<_>>().join("\n\n");
    for scene in 1..=9 {
        weixin.allow("oA", scene);
    }
    let ended = weixin.call(["send", "--file", "-", "--from-line", "8"]).input(text.clone()).run();
    assert_eq!((ended.code, outcomes(&ended)), (0, all_sent([9, 11, 13, 15, 17].into_iter())));
    let ended = weixin.call(["send", "--file", "-", "--from-line", "100"]).input(text).run();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert_eq!(weixin.seen(SEND), 5);
}

#[test]
fn results_are_seen_before_the_input_ends() {
    let weixin = Weixin::start();
    weixin.allow("oA", 1).allow("oA", 2);
    let mut child = weixin.call(["send", "--file", "-"]).start();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for scene in [1, 2] {
        writeln!(input, "{}", line("oA", scene, "Hello")).unwrap();
        let expected = format!(
            "{{\"outcome\":\"sent\",\"touser\":\"oA\",\"template_id\":\"{TEMPLATE}\",\"scene\":\"{scene}\",\"line\":{scene}}}\n"
        );
        let mut told = vec![0; expected.len()];
        output.read_exact(&mut told).unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), expected);
    }
    drop(input);
    assert_eq!(ended(child).code, 0);
}

#[test]
fn nobody_reading_the_results_stops_it() {
    let weixin = Weixin::start();
    for scene in 1..=9 {
        weixin.allow("oA", scene);
    }
    let mut child = weixin.call(["send", "--file", "-", "--concurrency", "1"]).start();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    for scene in 1..=9 {
        // It may have stopped reading.
        let _ = writeln!(input, "{}", line("oA", scene, "Hello"));
    }
    // The input stays open: it stops by itself.
    let ended = ended(child);
    drop(input);
    assert_eq!(ended.code, 4, "{ended:?}");
    let next: u64 = ended.err.trim_end().rsplit("--from-line ").next().unwrap().parse().unwrap();
    assert_eq!(weixin.seen(SEND), next - 1);
    assert!(!ended.err.contains("panic"), "{}", ended.err);
}

#[test]
fn files_that_cannot_be_read() {
    let weixin = Weixin::start();
    weixin
        .call(["send", "--file", "/nonexistent"])
        .run()
        .assert_wrong(&["error: --file: /nonexistent cannot be read"]);
    weixin.call(["send", "--file", "/"]).run().assert_wrong(&["error: / cannot be read"]);
    let ended = weixin.call(["send", "--file", "/dev/null"]).run();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert_eq!(weixin.seen_any(), 0);
}
