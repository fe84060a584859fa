//! Flags that exclude each other, and the values that a flag takes.

use super::weixin::{APPID, TEMPLATE, line};
use super::wxsub::{Ended, file, folder, wxsub};

/// Runs these words, which have no spaces, without a terminal.
fn run(words: &str) -> Ended {
    let call = wxsub(&words.split(' ').collect::<Vec<_>>());
    call.env("WXSUB_APPID", APPID).env("WXSUB_SECRET", "s").run()
}

/// clap drops the requirement of a flag if another flag excludes what is required. Then the flag would have no effect.
#[test]
fn flag_without_effect_is_refused() {
    let message = "--to o --template T --scene 7 --title t --content c --dry-run";
    let consent = "--template T --scene 7";
    for words in [
        "serve --sandbox --check".to_owned(),
        "serve --config /none --listen 127.0.0.1:0".to_owned(),
        "serve --config /none --webhook https://a.example/".to_owned(),
        "serve --config /none --allow-host a.example".to_owned(),
        "send --file /none --lines 1 --batch b".to_owned(),
        format!("send {message} --batch b"),
        format!("send {message} --outbox l.db"),
        format!("send {message} --concurrency 2"),
        format!("consent url --mobile {consent} --reserved r --signing-key-file /none"),
        format!("grant record --outbox l.db --to o {consent} --session s"),
        format!("grant record --outbox l.db --to o {consent} --signing-key-file /none"),
        format!("grant record --outbox l.db --to o {consent} --previous-key-file /none"),
        "grant list --outbox l.db --to o --after 01a22860-c806-7000-bbd1-9b84f98d7e02".to_owned(),
        "grant list --outbox l.db --to o --limit 1".to_owned(),
    ] {
        let ended = run(&words);
        ended.assert_wrong(&["cannot be used with"]);
    }
}

#[test]
fn wrong_name_is_answered_with_the_names() {
    let message = format!("--to o --template {TEMPLATE} --scene 7 --title t --content c");
    for (words, names) in [
        ("outbox list --state sending".to_owned(), "[possible values: queued, attempting, sent, refused, "),
        ("grant list --state closed".to_owned(), "[possible values: open, reserved, attempting, used, "),
        (format!("outbox add {message} --priority urgent"), "[possible values: high, normal, low]"),
        (
            "outbox decide 01a22860-c806-7000-bbd1-9b84f98d7e02 --decision yes".to_owned(),
            "[possible values: assume_sent, give_up, send_again]",
        ),
    ] {
        run(&words).assert_wrong(&["invalid value ", names]);
    }
}

/// A ledger has the same name as in the configuration of a server.
#[test]
fn ledger_is_a_file_or_a_url() {
    let folder = folder();
    let (path, consent) = (folder.path().join("l.db"), "--to o --template T --scene 7");
    let (path, record) = (path.to_str().unwrap(), format!("grant record {consent} --outbox"));
    let made = run(&format!("{record} sqlite:{path}"));
    assert!(made.code == 0 && made.err.starts_with(&format!("new ledger: {path}\n")), "{made:?}");
    for name in
        [format!("--outbox {path}"), format!("--outbox sqlite:{path}"), format!("--url sqlite:{path}")]
    {
        assert_eq!(run(&format!("ledger check {name}")).err, "no problems\n", "{name}");
    }
    // A folder is no ledger, and an error makes none.
    for (words, said) in [
        (format!("outbox list --outbox {}", folder.path().display()), "it is no SQLite file"),
        (format!("{record} {}", folder.path().display()), "it is no SQLite file"),
        (format!("{record} /nonexistent/l.db"), "its folder cannot be read"),
        (
            "ledger check --url mysql://db".to_owned(),
            "must be a SQLite file, or postgres://USER@HOST/DATABASE",
        ),
    ] {
        let ended = run(&words);
        ended.assert_wrong(&[said]);
        assert!(!ended.err.contains("new ledger"), "{ended:?}");
    }
}

/// The file is not read as one, and each line has what is wrong with it.
#[test]
fn imported_line_that_is_no_consent_is_named() {
    let good = r#"{"touser":"o","template_id":"T","scene":7}"#;
    let lines = [
        good.to_owned(),
        "null".to_owned(),
        r#"[null,"o","T",7,null]"#.to_owned(),
        format!("\u{feff}{good}"),
        good.replace("7", "10001"),
        format!("{good}x"),
        good.replace("\"T\"", &format!("\"{}\"", "T".repeat(70_000))),
    ];
    let path = file("no_consents.jsonl", &lines.join("\n"));
    let ended = run(&format!("grant import {path} --outbox /nonexistent/l.db"));
    let expected = [
        "error: line 2: must be one JSON object; nothing was recorded",
        "error: line 3: must be one JSON object; nothing was recorded",
        "error: line 5: scene: must be a whole number from 0 to 10000, written in decimal digits without sign or \
         leading zero, at byte 45 of the line; nothing was recorded",
        "error: line 6: trailing characters, at byte 43 of the line; nothing was recorded",
        "error: line 7: must be a line of at most 65536 bytes; nothing was recorded",
    ];
    assert_eq!(ended.err.lines().collect::<Vec<_>>(), expected);
    assert_eq!(ended.code, 2);
}

#[test]
fn problem_of_a_whole_file_is_in_chinese() {
    let path = file("spread.jsonl", &line("o", 7, "Hi").replacen(',', ",\n", 1));
    let ended = wxsub(&["--lang", "zh", "send", "--dry-run", "--file", &path]).env("WXSUB_APPID", APPID);
    let ended = ended.env("WXSUB_SECRET", "s").run();
    ended.assert_wrong(&["无法读取：其中的对象跨多行；请把每个对象写在一行内"]);
}
