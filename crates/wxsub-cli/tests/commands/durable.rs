//! `wxsub send --file --outbox`: killed, cut off, corrected and run again. The sandbox and its journal are the judge.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;

use rusqlite::Connection;
use tempfile::TempDir;
use wxsub_sandbox::{Fault, Journal, JournalRecord, Sandbox};
use wxsub_test_support::wait_for;

use super::disk::read_until;
use super::interrupt::signal;
use super::weixin::{Breakable, Gate, SEND, STABLE_TOKEN, UNUSED_BASE, Weixin, allow, line, pointed_at};
use super::wxsub::{Ended, Wxsub, ended, folder, shell, wxsub};

/// A folder with a file of messages, a ledger and a journal.
pub(super) struct Setup {
    folder: TempDir,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self { folder: folder() }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn write(&self, lines: &[String]) {
        std::fs::write(self.path("lines.jsonl"), lines.join("\n")).unwrap();
    }

    /// The command, always the same.
    pub(super) fn send(&self) -> Wxsub {
        wxsub(&["send", "--file", &self.path("lines.jsonl"), "--outbox", &self.path("ledger.db")])
    }

    pub(super) fn send_to(&self, weixin: &Weixin) -> Ended {
        pointed_at(&weixin.base, self.send()).run()
    }

    pub(super) fn keep_journal(&self, sandbox: &Sandbox) {
        sandbox.set_journal(Journal::open(Path::new(&self.path("journal"))).unwrap());
    }

    /// How many posts reached Weixin for each user: accepted, and all.
    pub(super) fn witnessed(&self) -> BTreeMap<String, (usize, usize)> {
        let journal = std::fs::read(self.path("journal")).unwrap();
        let mut posts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for record in JournalRecord::parse(&journal).filter(|record| record.operation == "send") {
            let user = record.message.and_then(|message| message.touser).unwrap();
            let seen = posts.entry(user).or_default();
            *seen = (seen.0 + usize::from(record.accepted), seen.1 + 1);
        }
        posts
    }
}

pub(super) fn user(number: usize) -> String {
    format!("oUser{number}")
}

/// A line with an id to each of so many users, who have all consented.
pub(super) fn lines(sandbox: &Sandbox, users: usize, content: &str) -> Vec<String> {
    let with_id = |number| {
        allow(sandbox, &user(number), 7);
        line(&user(number), 7, content).replacen('{', &format!(r#"{{"id":"line-{number}","#), 1)
    };
    (1..=users).map(with_id).collect()
}

pub(super) fn outcomes(ended: &Ended) -> BTreeMap<u64, String> {
    ended.outcomes().into_iter().collect()
}

/// Ends the process as a power cut would, when so many posts have reached Weixin.
fn kill_after(mut child: Child, sandbox: &Sandbox, posts: u64) {
    let has_ended = |child: &mut Child| child.try_wait().unwrap().is_some();
    wait_for("posts", || sandbox.event_log().request_count(SEND) >= posts || has_ended(&mut child));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_and_cut_off_batch_sends_every_line_at_most_once() {
    const LINES: usize = 120;
    let (setup, weixin) = (Setup::new(), Breakable::start(90));
    setup.keep_journal(&weixin.sandbox);
    setup.write(&lines(&weixin.sandbox, LINES, "Hello"));
    for posts in [0, 20, 45, 70] {
        // The process cannot get further before it is killed.
        weixin.hold_at(posts);
        let child = pointed_at(&weixin.base, setup.send()).start();
        kill_after(child, &weixin.sandbox, posts);
    }
    weixin.hold_at(u64::MAX);
    let base = weixin.base.clone();
    let cut_off = pointed_at(&base, setup.send()).run();
    assert!([4, 5].contains(&cut_off.code), "{}", cut_off.err);
    cut_off.says("no response to 4 attempts in a row");
    cut_off.says("go on with: wxsub send --file ");
    let sandbox = weixin.restore();
    let finished = pointed_at(&base, setup.send()).run();
    let outcomes = outcomes(&finished);
    assert_eq!(outcomes.len(), LINES, "{}", finished.err);
    let posts = setup.witnessed();
    for number in 1..=LINES {
        let name = user(number);
        let (accepted, all) = posts.get(&name).copied().unwrap_or_default();
        assert!(all <= 1, "{name} was posted {all} times");
        assert_eq!(sandbox.mailbox(&name.parse().unwrap()).len(), accepted);
        match outcomes[&u64::try_from(number).unwrap()].as_str() {
            "sent" => assert_eq!(accepted, 1, "{name}"),
            "maybe_sent" => {
                finished.says(&format!("maybe sent: line {number}, id \"line-{number}\", to {name}: "));
            }
            other => panic!("line {number} is {other}: {}", finished.err),
        }
    }
    let unknown = outcomes.values().filter(|outcome| *outcome == "maybe_sent").count();
    // Each kill and the cut leave at most the messages in flight.
    assert!(unknown <= 5 * 16, "{unknown}");
    assert_eq!(finished.code, if unknown > 0 { 5 } else { 0 });

    let again = pointed_at(&base, setup.send()).run();
    again.says(&format!("nothing to do: {LINES} lines had ended before; nothing was posted"));
    assert_eq!((again.code, &again.out), (finished.code, &finished.out));
    assert_eq!(setup.witnessed(), posts);
}

#[test]
fn unknown_line_is_named_and_not_sent_again() {
    let (setup, gate) = (Setup::new(), Gate::start());
    setup.write(&lines(&gate.sandbox, 2, "hold"));
    let child = pointed_at(&gate.base, setup.send()).start();
    gate.wait_for(1);
    kill_after(child, &gate.sandbox, 0);
    gate.open();
    let again = pointed_at(&gate.base, setup.send()).run();
    again.said(5, "maybe sent: line 1, id \"line-1\", to oUser1: message ");
    again.says("decide each with: wxsub outbox decide --outbox ");
    assert_eq!(outcomes(&again)[&1], "maybe_sent");
    for number in [1, 2] {
        assert!(gate.sandbox.mailbox(&user(number).parse().unwrap()).len() <= 1);
    }
}

#[test]
fn corrected_file_sends_only_what_was_not_sent() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.keep_journal(&weixin.sandbox);
    let mut lines = lines(&weixin.sandbox, 2, "Hello");
    // No consent.
    lines.push(line("oUser3", 7, "Hello").replacen('{', r#"{"id":"line-3","#, 1));
    lines.push(line("oUser4", 7, "").replacen('{', r#"{"id":"line-4","#, 1));
    lines.push(r#"{"id":"line-5","touser":""}"#.to_owned());
    lines.push(line("oUser6", 7, "no id"));
    weixin.allow("oUser4", 7).allow("oUser5", 7).allow("oUser6", 7);
    setup.write(&lines);
    let first = setup.send_to(&weixin);
    assert_eq!(first.code, 3, "{}", first.err);
    let expected = ["sent", "sent", "refused", "invalid", "invalid", "sent"];
    assert_eq!(outcomes(&first).into_values().collect::<Vec<_>>(), expected);

    weixin.allow("oUser3", 7);
    lines[0] = lines[0].replace("Hello", "Goodbye");
    lines[2] = lines[2].replace("Hello", "Hello again");
    lines[3] = lines[3].replace(r#""value":"""#, r#""value":"Hello""#);
    lines[4] = line("oUser5", 7, "Hello").replacen('{', r#"{"id":"line-5","#, 1);
    lines.swap(1, 5);
    setup.write(&lines);
    let second = setup.send_to(&weixin);
    assert_eq!(second.code, 2, "{}", second.err);
    let expected = ["invalid", "sent", "sent", "sent", "sent", "sent"];
    assert_eq!(outcomes(&second).into_values().collect::<Vec<_>>(), expected);
    let problem = &second.json()[0]["problems"][0];
    assert!(
        problem["field"] == "id" && problem["rule"].as_str().unwrap().starts_with("key_reused: "),
        "{problem}"
    );
    let accepted = |number| setup.witnessed()[&user(number)].0;
    assert_eq!((1..=6).map(accepted).collect::<Vec<_>>(), [1; 6]);
    assert_eq!(weixin.received("oUser1"), ["Hello"]);
    assert_eq!(weixin.received("oUser3"), ["Hello again"]);
}

#[test]
fn quota_stops_and_the_rest_stays_queued() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 100, "Hello"));
    weixin.set(|app| app.send_quota = 20);
    let stopped = setup.send_to(&weixin);
    stopped.said(4, "errcode 45009, the daily quota is used up; continue after midnight, Beijing time");
    stopped.says("20 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent, 80 queued");
    let posted = weixin.seen(SEND);
    let paused = setup.send_to(&weixin);
    assert_eq!((paused.code, weixin.seen(SEND)), (4, posted), "{}", paused.err);
    paused.says("errcode 45009 in an earlier run");
    let listed = setup.command(&["outbox", "list", "--state", "queued"]).run();
    listed.says("45009: the daily quota is used up; waits until ");
    assert_eq!(listed.out.lines().filter(|line| line.contains("waits: quota")).count(), 80);
    weixin.set(|app| app.send_quota = 100_000);
    assert_eq!(setup.command(&["outbox", "resume"]).run().code, 0);
    let finished = setup.send_to(&weixin);
    assert_eq!((finished.code, outcomes(&finished).len()), (0, 100), "{}", finished.err);
}

/// As if the clock had been set back by a day since the lines were recorded.
#[test]
fn clock_behind_the_ledger_is_named() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 2, "Hello"));
    let unreachable = pointed_at(UNUSED_BASE, setup.send()).run();
    assert_eq!(unreachable.code, 4, "{}", unreachable.err);
    let later = "UPDATE wxsub_message SET due_ms = due_ms + 86400000";
    assert_eq!(Connection::open(setup.path("ledger.db")).unwrap().execute(later, []), Ok(2));
    let mut child = pointed_at(&weixin.base, setup.send()).start();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut errors, "no line is due before 20");
    kill_after(child, &weixin.sandbox, 0);
    assert_eq!(weixin.seen(SEND), 0);
}

#[test]
fn wrong_secret_stops_and_nothing_is_posted() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 30, "Hello"));
    let stopped = pointed_at(&weixin.base, setup.send()).env("WXSUB_SECRET", "another-secret").run();
    assert_eq!((stopped.code, weixin.seen(SEND), stopped.out.as_str()), (4, 0, ""), "{}", stopped.err);
    stopped.says("Weixin refused the access token");
    stopped.says("30 queued");
    assert_eq!(weixin.seen(STABLE_TOKEN), 1);
    let finished = setup.send_to(&weixin);
    assert_eq!((finished.code, outcomes(&finished).len()), (0, 30), "{}", finished.err);
}

#[test]
fn limit_posts_so_many_lines_in_each_run() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 25, "Hello"));
    for (sent, code) in [(10, 4), (20, 4), (25, 0)] {
        let ended = pointed_at(&weixin.base, setup.send()).args(&["--limit", "10", "--rate", "1000/s"]).run();
        assert_eq!((ended.code, weixin.seen(SEND)), (code, sent), "{}", ended.err);
        assert_eq!(outcomes(&ended).len() as u64, sent);
    }
}

/// An attempt that was certainly not sent is repeated; what may have been sent is not.
#[test]
fn lost_response_is_unknown_and_refused_connection_is_repeated() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 3, "Hello"));
    weixin.fault(SEND, Fault::ResetAfterApply);
    let ended = setup.send_to(&weixin);
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert_eq!(outcomes(&ended).values().filter(|outcome| *outcome == "sent").count(), 2);
    assert_eq!(weixin.seen(SEND), 3);
}

/// Names of a file, a ledger and a batch can look like flags.
#[test]
fn command_that_goes_on_has_the_name_of_the_batch() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 2, "Hello"));
    let stopped = setup.send().args(&["--batch=-spring", "--limit", "1"]);
    let stopped = pointed_at(&weixin.base, stopped).run();
    assert_eq!(stopped.code, 4, "{stopped:?}");
    let goes_on = stopped.err.lines().find_map(|line| line.strip_prefix("go on with: ")).unwrap();
    let finished = pointed_at(&weixin.base, shell(goes_on)).run();
    assert_eq!((finished.code, weixin.seen(SEND)), (0, 2), "{goes_on}: {finished:?}");
}

#[test]
fn second_process_names_the_first() {
    let (setup, gate) = (Setup::new(), Gate::start());
    setup.write(&lines(&gate.sandbox, 1, "hold"));
    let first = pointed_at(&gate.base, setup.send()).start();
    gate.wait_for(1);
    let second = pointed_at(&gate.base, setup.send()).env("WXSUB_LEDGER_WAIT_S", "0").run();
    second.said(4, &format!("process {} on ", first.id()));
    gate.open();
    assert_eq!(ended(first).code, 0);
}

/// Another process has the ledger, so nothing is in flight.
#[cfg(target_os = "linux")]
#[test]
fn signal_ends_the_wait_for_a_ledger() {
    let (setup, gate) = (Setup::new(), Gate::start());
    setup.write(&lines(&gate.sandbox, 1, "hold"));
    let holder = pointed_at(&gate.base, setup.send()).start();
    gate.wait_for(1);
    for call in [setup.send(), setup.command(&["outbox", "run"])] {
        let call = pointed_at(&gate.base, call).env("WXSUB_LEDGER_WAIT_S", "600");
        let mut waiting = call.env("TOKIO_WORKER_THREADS", "1").start();
        // The look at the ledger has a thread of its own, beside those of the process and of the worker.
        let threads = format!("/proc/{}/task", waiting.id());
        wait_for("the look at the ledger", || std::fs::read_dir(&threads).unwrap().count() >= 3);
        signal(&waiting, "INT");
        let mut said = String::new();
        BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let _ = waiting.kill();
        assert_eq!((said.as_str(), waiting.wait().unwrap().signal()), ("", Some(2)));
    }
    gate.open();
    assert_eq!(ended(holder).code, 0);
}

#[test]
fn wrong_usage_of_durable_batch() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 1, "Hello"));
    let wrong = |call: Wxsub, text: &str| pointed_at(&weixin.base, call).run().assert_wrong(&[text]);
    wrong(setup.send().args(&["--lines", "1"]), "cannot be used with");
    for pipe in ["-", "/dev/stdin"] {
        let send = wxsub(&["send", "--file", pipe, "--outbox", &setup.path("ledger.db")]);
        wrong(send, "--batch: is missing");
    }
    wrong(setup.send().args(&["--batch", ""]), "--batch: must have 1 to 255 characters");
    wrong(setup.send().through(UNUSED_BASE, &"k".repeat(43)), "WXSUB_S");
    let no_ledger =
        wxsub(&["send", "--file", &setup.path("lines.jsonl"), "--outbox", &setup.path("lines.jsonl")]);
    pointed_at(&weixin.base, no_ledger).run().assert_wrong(&["it is no SQLite file; check the path"]);
    assert!(!Path::new(&setup.path("ledger.db")).exists());
    assert_eq!(weixin.seen_any(), 0);
}
