//! What stops `wxsub send --file`, and the command that goes on. The sandbox's mailboxes are the judge.

use std::fs::File;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_sandbox::{Fault, Sandbox};

use super::served::Served;
use super::weixin::{SEND, STABLE_TOKEN, Weixin, allow, line, pointed_at};
use super::wxsub::{Ended, Wxsub, file, shell, wxsub};

/// A file with a message to each of so many users, who have all consented.
fn messages(sandbox: &Sandbox, name: &str, users: usize, content: &str) -> String {
    let mut text = String::new();
    for user in 1..=users {
        allow(sandbox, &format!("oUser{user}"), 7);
        text += &format!("{}\n", line(&format!("oUser{user}"), 7, content));
    }
    file(name, &text)
}

/// The lines whose messages are in a mailbox; none of them twice.
fn received(sandbox: &Sandbox, users: usize) -> Vec<u64> {
    let count = |user: &usize| sandbox.mailbox(&format!("oUser{user}").parse().unwrap()).len();
    let twice: Vec<_> = (1..=users).filter(|user| count(user) > 1).collect();
    assert_eq!(twice, [0; 0], "received twice");
    (1..=users).filter(|user| count(user) == 1).map(|user| user as u64).collect()
}

/// The command that goes on, as a shell runs it.
fn go_on(ended: &Ended) -> Wxsub {
    let command = ended.err.lines().find_map(|line| line.strip_prefix("go on with: "));
    shell(command.unwrap_or_else(|| panic!("no command goes on: {}", ended.err)))
}

#[test]
fn quota_used_up_at_line_120_of_5000() {
    let weixin = Weixin::start();
    // The command that goes on survives the shell.
    let path = messages(&weixin.sandbox, "it's $HOME `x` \"y\".jsonl", 5000, "Hello");
    weixin.set(|app| app.send_quota = 119);
    let stopped = weixin.call(&["send", "--file", &path]).run();
    assert_eq!(stopped.code, 4, "{}", stopped.err);
    let refused = stopped.lines("refused").len();
    assert_eq!((stopped.lines("sent").len(), stopped.outcomes().len()), (119, 119 + refused));
    assert!((1..=16).contains(&refused), "{refused} were posted into the quota");
    assert_eq!(weixin.seen(SEND), 119 + refused as u64);
    let untried = 5000 - 119 - refused;
    stopped.says(&format!(
        "119 sent, {refused} refused, 0 invalid, 0 not sent, 0 maybe sent, {untried} not tried"
    ));
    stopped.says("errcode 45009, the daily quota is used up; continue after midnight, Beijing time");

    // On the same day the command stops again, and nothing is lost.
    let again = pointed_at(&weixin.base, go_on(&stopped)).run();
    assert_eq!((again.code, again.outcomes().len()), (4, again.lines("refused").len()), "{}", again.err);

    weixin.sandbox.advance(std::time::Duration::from_secs(24 * 3600));
    weixin.set(|app| app.send_quota = 100_000);
    let finished = pointed_at(&weixin.base, go_on(&again)).run();
    assert_eq!(finished.code, 0, "{}", finished.err);
    assert_eq!(finished.err, "4881 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent\n");
    assert_eq!(received(&weixin.sandbox, 5000), (1..=5000).collect::<Vec<_>>());
}

/// A file system that is full. 8 blocks are 4096 bytes, which is where this shell lets a file end.
#[test]
fn disk_full() {
    let weixin = Weixin::start();
    let path = messages(&weixin.sandbox, "disk_full.jsonl", 300, "Hello");
    let results = format!("{}/disk_full.results", env!("CARGO_TARGET_TMPDIR"));
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let stopped = weixin
        .call(&["send", "--file", &path])
        .under_shell(limited)
        .run_into(File::create(&results).unwrap());
    assert_eq!(stopped.code, 5, "{}", stopped.err);
    let recorded = std::fs::read_to_string(&results).unwrap();
    // The file breaks off within a line.
    let whole = recorded.rfind('\n').unwrap() + 1;
    let recorded: Vec<u64> = recorded[..whole]
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].as_u64().unwrap())
        .collect();
    let last = *recorded.last().unwrap();
    assert_eq!(recorded, (1..=last).collect::<Vec<_>>());
    stopped.says(&format!("; the last line recorded is {last}"));
    // What was in flight is said here.
    let lost: Vec<u64> = stopped
        .err
        .lines()
        .filter_map(|line| line.strip_prefix("not recorded: "))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].as_u64().unwrap())
        .collect();
    let sent = received(&weixin.sandbox, 300);
    assert_eq!([recorded, lost].concat(), sent);
    assert!(sent.len() as u64 <= last + 16);

    let finished = pointed_at(&weixin.base, go_on(&stopped)).run();
    assert_eq!(finished.code, 0, "{}", finished.err);
    assert_eq!(received(&weixin.sandbox, 300), (1..=300).collect::<Vec<_>>());
}

#[test]
fn results_that_were_lost_of_lines_that_were_not_posted_are_no_doubt() {
    let weixin = Weixin::start();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let path = file("not_posted.jsonl", "nonsense\n");
    let invalid = weixin.call(&["send", "--file", &path]).run_into(full());
    invalid.said(
        2,
        "error: results cannot be written: No space left on device (os error 28); no line is recorded",
    );
    let path = messages(&weixin.sandbox, "posted.jsonl", 1, "Hello");
    let sent = weixin.call(&["send", "--file", &path]).run_into(full());
    sent.said(5, r#"not recorded: {"outcome":"sent","touser":"oUser1""#);
}

#[test]
fn a_refused_token_call_stops_before_anything_is_posted() {
    let weixin = Weixin::start();
    let path = messages(&weixin.sandbox, "wrong_secret.jsonl", 50, "Hello");
    let stopped = weixin.call(&["send", "--file", &path]).env("WXSUB_SECRET", "wrong").run();
    assert_eq!(stopped.code, 4, "{}", stopped.err);
    let tried = stopped.json().len();
    assert!((1..=16).contains(&tried) && stopped.json().iter().all(|output| output["errcode"] == 40125));
    stopped.says(": Weixin refused the access token");
    stopped.says(&format!("{} not tried", 50 - tried));
    assert_eq!((weixin.seen(STABLE_TOKEN), weixin.seen(SEND)), (1, 0));
    let finished = pointed_at(&weixin.base, go_on(&stopped)).run();
    assert_eq!((finished.code, received(&weixin.sandbox, 50).len()), (0, 50), "{}", finished.err);

    // Every line is tried where the user wants that.
    let call = weixin.call(&["send", "--file", &path, "--on-error", "continue"]);
    let ended = call.env("WXSUB_SECRET", "wrong").run();
    assert_eq!((ended.code, ended.json().len()), (4, 50), "{}", ended.err);
    ended.says("go on with: wxsub send --file");
    ended.says("--on-error continue --lines 1-50");
}

#[test]
fn a_limit_leaves_the_rest_untried() {
    let weixin = Weixin::start();
    let path = messages(&weixin.sandbox, "limit.jsonl", 7, "Hello");
    let limits = ["--timeout", "20", "--limit", "3", "--rate", "1000/s"];
    let mut ended = weixin.call(&["send", "--file", &path]).args(&limits).run();
    for (code, sent, rest) in [(4, 3, " --lines 4-"), (4, 6, " --lines 7-"), (0, 7, "")] {
        assert_eq!((ended.code, received(&weixin.sandbox, 7).len()), (code, sent), "{}", ended.err);
        if code == 4 {
            ended.says("stopped: 3 lines posted, the limit of --limit");
            ended.says(&format!("--timeout 20 --rate 1000/s --limit 3{rest}"));
            ended = pointed_at(&weixin.base, go_on(&ended)).run();
        }
    }
}

#[test]
fn a_configuration_error_stops_and_continue_goes_on() {
    let weixin = Weixin::start();
    let path = messages(&weixin.sandbox, "config.jsonl", 9, "Hello");
    let unauthorized = Fault::ErrCode(ErrCode::new(48001));
    weixin.fault(SEND, unauthorized);
    let stopped = weixin.call(&["send", "--file", &path, "--concurrency", "1"]).run();
    assert_eq!((stopped.code, weixin.seen(SEND)), (4, 1), "{}", stopped.err);
    stopped.says("stopped: line 1: the configuration must be corrected first");
    stopped.says("--lines 2-");
    weixin.fault(SEND, unauthorized);
    let ended = weixin.call(&["send", "--file", &path, "--concurrency", "1", "--on-error", "continue"]).run();
    assert_eq!((ended.code, ended.lines("sent").len()), (3, 8), "{}", ended.err);
}

/// The same rules through a control server, which names Weixin's errcode and says when to come back.
#[test]
fn a_control_server_obeys_the_same_rules() {
    let (weixin, server, key) = Served::before_sandbox("batch_server", "");
    let through = |call: Wxsub| call.through(&server.base, &key);
    let path = messages(&weixin.sandbox, "through_server.jsonl", 200, "Hello");
    weixin.set(|app| app.send_quota = 20);
    let stopped = through(wxsub(&["send", "--file", &path])).run();
    assert_eq!((stopped.code, stopped.lines("sent").len()), (4, 20), "{}", stopped.err);
    assert!(stopped.json().len() <= 36);
    stopped.says("errcode 45009, the daily quota is used up");
    weixin.set(|app| app.send_quota = 100_000);
    let finished = through(go_on(&stopped)).run();
    assert_eq!(finished.code, 0, "{}", finished.err);
    assert_eq!(received(&weixin.sandbox, 200), (1..=200).collect::<Vec<_>>());

    let wrong = through(wxsub(&["send", "--file", &path])).env("WXSUB_KEY", &"x".repeat(43)).run();
    assert_eq!(wrong.code, 4, "{}", wrong.err);
    assert!(
        wrong.json().len() <= 16 && wrong.json().iter().all(|output| output["remedy"] == json!("fix_config"))
    );
    wrong.says("the configuration must be corrected first");
}
