//! `wxsub outbox`, `wxsub grant` and `wxsub ledger` on a file.

use std::collections::HashSet;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::disk::read_until;
use super::durable::{Setup, lines};
use super::interrupt::signal;
use super::weixin::{APPID, Gate, SEND, TEMPLATE, Weixin, line, pointed_at};
use super::wxsub::{Ended, Wxsub, ended, wxsub};

/// Commands about the ledger.
impl Setup {
    pub(super) fn command(&self, words: &[&str]) -> Wxsub {
        wxsub(words).args(&["--outbox", &self.path("ledger.db")]).env("WXSUB_APPID", APPID)
    }

    fn run(&self, words: &[&str]) -> Ended {
        self.command(words).run()
    }

    fn add(&self, user: &str) -> Wxsub {
        self.command(&["outbox", "add"]).message(user, "hold")
    }

    fn list(&self) -> Vec<Value> {
        let listed = self.run(&["outbox", "list", "--json"]);
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.json()[0]["messages"].as_array().unwrap().clone()
    }

    fn worker(&self, base: &str) -> Wxsub {
        pointed_at(base, self.command(&["outbox", "run", "--until-empty"]))
    }

    /// Kills a worker that has posted this message, and gives its id.
    fn kill_worker(&self, gate: &Gate) -> String {
        let id = self.add("oUser").run().out.trim().to_owned();
        let mut worker = self.worker(&gate.base).start();
        gate.wait_for(1);
        worker.kill().unwrap();
        worker.wait().unwrap();
        gate.open();
        id
    }

    /// As if the attempts had begun, and the backup been restored, some minutes earlier.
    fn age(&self) {
        let connection = rusqlite::Connection::open(self.path("ledger.db")).unwrap();
        let aged = "UPDATE wxsub_message SET attempted_ms = attempted_ms - 200000, restored_ms = restored_ms - 200000";
        connection.execute(aged, []).unwrap();
    }
}

#[test]
fn message_is_recorded_listed_sent_and_shown() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    weixin.allow("oUser", 7);
    let added = setup.add("oUser").args(&["--key", "order-4711"]).run();
    added.said(0, "new ledger: ");
    let id = added.out.trim();
    let again = setup.add("oUser").args(&["--key", "order-4711"]).run();
    again.said(0, "recorded before under this key");
    assert_eq!(again.out.trim(), id);
    setup.add("oOther").args(&["--key", "order-4711"]).run().said(2, "it stands for the message ");
    setup.add("oOther").args(&["--require-grant"]).run().said(3, "there is no open grant");

    let table = setup.run(&["outbox", "list"]);
    table.said(0, &format!("app {APPID}: 1 queued, 0 undecided"));
    let rows: Vec<Vec<_>> = table.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "STATE", "ATTEMPTS", "CREATED", "WHY", "UNTIL", "USER"]);
    assert_eq!((rows.len(), &rows[1][..3], rows[1].last()), (2, &[id, "queued", "0"][..], Some(&"oUser")));
    let message = &setup.list()[0];
    assert_eq!((&message["state"], &message["idempotency_key"]), (&"queued".into(), &"order-4711".into()));

    let sent = setup.worker(&weixin.base).run();
    assert_eq!((sent.code, sent.out.trim()), (0, format!("{id} sent to oUser").as_str()), "{}", sent.err);
    let shown = setup.run(&["outbox", "show", id, "--json"]);
    let events: Vec<_> =
        shown.json()[0]["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(events, ["enqueued", "claimed", "sent"]);
    let text = setup.run(&["outbox", "show", id]).out;
    assert!(text.contains("state: sent\n") && text.contains("  attempt 1  sent by "), "{text}");
    assert_eq!(setup.run(&["outbox", "list", "--state", "queued"]).out.lines().count(), 1);
    setup.run(&["outbox", "cancel", id]).said(3, "it is final");
    setup
        .run(&["outbox", "show", "01010101-0101-0101-0101-010101010101"])
        .said(2, "there is none with this id");
}

#[test]
fn message_that_cannot_be_sent_in_time_is_refused_or_named() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    let times = |send_at, expires_at| {
        setup.add("oUser").args(&["--send-at", send_at, "--expires-at", expires_at]).run()
    };
    times("2030-01-01T00:00:00Z", "2029-12-31T00:00:00Z")
        .assert_wrong(&["--expires-at: must be later than --send-at"]);
    let id = times("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z").out.trim().to_owned();
    let ended = setup.worker(&weixin.base).run();
    assert_eq!((ended.code, ended.out.trim()), (0, format!("{id} not_sent, expired to oUser").as_str()));
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn pages_follow_each_other() {
    let setup = Setup::new();
    let ids: Vec<_> = ["a", "b", "c"].map(|user| setup.add(user).run().out.trim().to_owned()).into();
    let first = setup.run(&["outbox", "list", "--json", "--limit", "2"]).json().remove(0);
    assert_eq!(first["next"], ids[1].as_str());
    let rest = setup.run(&["outbox", "list", "--json", "--limit", "2", "--after", &ids[1]]).json().remove(0);
    assert_eq!((rest["messages"][0]["id"].as_str(), &rest["next"]), (Some(ids[2].as_str()), &Value::Null));
    let of_user = setup.run(&["outbox", "list", "--json", "--to", "b"]).json().remove(0);
    assert_eq!(of_user["messages"].as_array().unwrap().len(), 1);
    setup.add("later").args(&["--send-at", "2090-01-01T00:00:00Z"]).run();
    let listed = setup.run(&["outbox", "list", "--to", "later"]).out;
    assert!(listed.contains("waits: send_at     2090-01-01T00:00:00Z      later"), "{listed}");
    let of_all_apps =
        |more: &[&str]| setup.command(&["outbox", "list"]).args(more).without("WXSUB_APPID").run();
    assert_eq!(of_all_apps(&[]).out.lines().count(), 5);
    setup.add("oOther").args(&["--appid", "wx0000000000000002"]).run();
    of_all_apps(&[]).said(0, "app wx0000000000000002: 1 queued");
    assert_eq!(of_all_apps(&[]).out.lines().count(), 6);
    of_all_apps(&["--limit", "1"]).said(2, "the ledger has");
}

#[test]
fn paused_app_sends_nothing_until_it_is_resumed() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    weixin.allow("oUser", 7);
    std::fs::write(setup.path("lines.jsonl"), line("oUser", 7, "Hello")).unwrap();
    let id = setup.add("oOther").run().out.trim().to_owned();
    setup.run(&["outbox", "cancel", &id]).said(0, "cancelled");
    setup.run(&["outbox", "pause", "--note", "wrong text"]).said(0, "paused");
    setup.run(&["outbox", "list"]).said(0, "paused by operator since 20").says(": wrong text");
    let path = setup.path("lines.jsonl");
    let send = || pointed_at(&weixin.base, setup.command(&["send", "--file", &path])).run();
    send().said(4, "1 queued").says("stopped: an operator has paused the app");
    setup.run(&["outbox", "resume"]).said(0, "resumed");
    send().said(0, "1 sent");
    assert_eq!(weixin.seen(SEND), 1);
}

#[test]
fn decision_shows_evidence_and_consequences() {
    let (setup, gate) = (Setup::new(), Gate::start());
    setup.command(&["grant", "record"]).consent("oUser").run().said(0, "recorded");
    let id = setup.kill_worker(&gate);
    let asked = setup.run(&["outbox", "decide", &id]);
    asked
        .said(2, "evidence: the process that was sending it ended before it recorded a response")
        .says("stage: send")
        .says(", in_doubt\n")
        .says("newer consent: none")
        .says("a stopped process may still post it; it can be decided from 20")
        .says("assume_sent: it counts as sent and is not sent again; its grant is used")
        .says("give_up: ")
        .says("send_again: a new message is queued in its place, with the same consent; ")
        .says("this is no terminal, so nothing was asked; give --decision and --yes");
    let decide = |decision| setup.command(&["outbox", "decide", &id, "--yes", "--decision", decision]).run();
    decide("give_up").said(
        3,
        "it was not decided: decision: a worker may still be posting the message; try again after 20",
    );
    setup.age();
    decide("send_again").said(0, "decided, send_again; message ").says(" is queued in its place");
    decide("give_up").said(3, "decided: send_again by operator at ").says("the message is decided already");
    let states: Vec<_> = setup.list().iter().map(|message| message["state"].clone()).collect();
    assert_eq!(states, ["maybe_sent", "queued"]);
}

#[test]
fn decision_about_a_message_without_a_grant_names_none() {
    let (setup, gate) = (Setup::new(), Gate::start());
    let void = setup.command(&["grant", "record"]).consent("oUser").run().out;
    assert_eq!(setup.run(&["grant", "void", void.trim()]).code, 0);
    let id = setup.kill_worker(&gate);
    let asked = setup.run(&["outbox", "decide", &id]);
    asked
        .said(2, "grant: none\n")
        .says("newer consent: none\n")
        .says("assume_sent: it counts as sent and is not sent again\n")
        .says("give_up: it is not sent again, whether it arrived or not\n")
        .says("send_again: a new message is queued in its place; if the first one arrived, the user gets two messages\n");
}

#[test]
fn errors_of_the_ledger_are_in_chinese() {
    let setup = Setup::new();
    let path = setup.path("ledger.db");
    let zh = |words: &[&str]| {
        let call = wxsub(&["--lang", "zh"]).args(words);
        call.args(&["--outbox", &path]).env("WXSUB_APPID", APPID)
    };
    let unknown = "01a22860-c806-7000-bbd1-9b84f98d7e02";
    zh(&["ledger", "check"]).run().said(2, "文件不存在；请检查路径");
    zh(&["outbox", "add", "--require-grant"]).message("o", "c").run().said(3, "没有可用的授权");
    for (words, exit, text) in [
        (&["outbox", "show", unknown][..], 2, "没有这个 id 的消息"),
        (&["outbox", "cancel", unknown], 2, "消息没有取消：message：没有这个 id 的消息"),
        (&["outbox", "decide", "--yes", "--decision", "give_up", unknown], 2, "没有这个 id 的消息"),
        (&["grant", "void", unknown], 3, "没有作废授权"),
        (&["ledger", "restore"], 2, "没有恢复：请加上 --from BACKUP"),
        (&["ledger", "prune", "--batch", "b"], 2, "消息库中没有该应用的批次"),
    ] {
        zh(words).run().said(exit, text);
    }
}

#[test]
fn reading_commands_work_beside_a_writer_and_others_name_it() {
    let (setup, gate) = (Setup::new(), Gate::start());
    let id = setup.add("oUser").run().out.trim().to_owned();
    let worker = setup.worker(&gate.base).start();
    gate.wait_for(1);
    assert_eq!(setup.list()[0]["state"], "attempting");
    assert_eq!(setup.run(&["outbox", "show", &id]).code, 0);
    setup.run(&["ledger", "check"]).said(0, "no problems");
    let copy = setup.path("copy.db");
    setup.run(&["ledger", "backup", "--to", &copy]).said(0, "backup written to ");
    let holder = format!("process {} on ", worker.id());
    for refused in [
        setup.command(&["outbox", "cancel", &id]),
        setup.command(&["outbox", "pause"]),
        setup.command(&["ledger", "prune"]),
        setup.add("oOther"),
    ] {
        refused.env("WXSUB_LEDGER_WAIT_S", "0").run().said(4, &holder);
    }
    let odd = setup.command(&["outbox", "pause"]).env("WXSUB_LEDGER_WAIT_S", "soon").run();
    odd.assert_wrong(&["WXSUB_LEDGER_WAIT_S: must be a whole number of seconds, at most 3600"]);
    gate.open();
    assert_eq!(ended(worker).code, 0);
}

#[test]
fn backup_is_restored_and_decided() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    assert_eq!(setup.add("oUser").args(&["--key", "order-4711"]).run().code, 0);
    let copy = setup.path("copy.db");
    setup.run(&["ledger", "backup", "--to", &copy]).said(0, "");
    let mode = Path::new(&copy).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    setup.command(&["grant", "record"]).consent("oOther").run().said(0, "recorded");
    let copy = setup.path("second.db");
    setup.run(&["ledger", "backup", "--to", &copy]).said(0, "");
    weixin.allow("oUser", 7);
    assert_eq!(setup.worker(&weixin.base).run().code, 0);
    let unrestored = wxsub(&["outbox", "resume", "--outbox", &copy, "--appid", APPID]).run();
    unrestored.said(2, "it is a backup; before it is used, run `wxsub ledger restore --from ");
    setup
        .run(&["ledger", "restore"])
        .said(2, "give --from BACKUP; or --snapshot, if ")
        .says("queued messages: 0, open grants: 1");
    let in_doubt = || setup.run(&["grant", "list", "--state", "in_doubt", "--json"]).json().remove(0);
    assert_eq!(in_doubt()["grants"].as_array().unwrap().len(), 0);
    setup
        .run(&["ledger", "restore", "--from", &copy])
        .said(0, "the ledger before it is now ")
        .says("messages that became maybe_sent: 1; grants that became in_doubt: 1")
        .says("idempotency keys used since 20")
        .says("wxsub outbox decide --restored --outbox ")
        .says("wxsub grant list --state in_doubt --outbox ");
    assert_eq!(in_doubt()["grants"][0]["openid"], "oOther");
    setup.run(&["ledger", "check"]).said(0, "no problems");
    let url = format!("sqlite:{}", setup.path("ledger.db"));
    wxsub(&["ledger", "migrate", "--url", &url]).run().said(0, "the schema is up to date");
    setup.age();
    let decided = setup.run(&["outbox", "decide", "--restored", "--decision", "assume_sent", "--yes"]);
    decided.said(0, "a backup was restored in which it was not final").says("decided, assume_sent");
    setup
        .run(&["outbox", "decide", "--restored", "--decision", "give_up", "--yes"])
        .said(0, "no undecided message");
    wxsub(&["ledger", "check", "--outbox", &setup.path("nothing.db")])
        .run()
        .said(2, "nothing.db: there is no such file; check the path; `wxsub outbox add`");
    wxsub(&["ledger", "migrate", "--outbox", &setup.path("nothing.db")])
        .run()
        .said(2, "there is no such file");
}

/// A copy of the file alone must not send again what was sent.
#[test]
fn ledger_is_one_file_when_its_command_has_ended() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    let is_one_file = |after: &str| {
        for name in ["ledger.db-wal", "ledger.db-shm"] {
            assert!(!Path::new(&setup.path(name)).exists(), "{name} after {after}");
        }
    };
    let path = setup.path("lines.jsonl");
    setup.write(&lines(&weixin.sandbox, 40, "Hello"));
    let sent = pointed_at(&weixin.base, setup.command(&["send", "--batch", "b", "--file", &path])).run();
    sent.said(0, "40 sent");
    is_one_file("send");
    weixin.allow("oUser", 7);
    assert_eq!(setup.add("oUser").run().code, 0);
    is_one_file("outbox add");
    assert_eq!(setup.worker(&weixin.base).run().code, 0);
    is_one_file("outbox run");
    assert_eq!(setup.list().len(), 41);
    is_one_file("outbox list");
    let copy = setup.path("copy.db");
    std::fs::copy(setup.path("ledger.db"), &copy).unwrap();
    let queued = wxsub(&["outbox", "list", "--state", "queued", "--outbox", &copy, "--appid", APPID]).run();
    queued.said(0, "41 sent, 0 undecided");
}

#[test]
fn finished_batch_is_forgotten_only_by_name() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    weixin.allow("oUser", 7);
    let path = setup.path("lines.jsonl");
    std::fs::write(&path, line("oUser", 7, "Hello")).unwrap();
    let send =
        || pointed_at(&weixin.base, setup.command(&["send", "--batch", "spring", "--file", &path])).run();
    send().said(0, "1 sent");
    setup.run(&["ledger", "prune"]).said(0, "deleted messages: 0, keys: 0, grants: 0");
    send().said(0, "nothing to do: 1 lines had ended before; nothing was posted");
    setup
        .run(&["ledger", "prune", "--batch", "summer"])
        .said(2, "has no batch \"summer\" of this app; its batches: \"spring\"");
    setup.run(&["ledger", "prune", "--batch", "spring"]).said(0, "keys deleted: 1");
    assert_eq!(weixin.seen(SEND), 1);
    send().said(3, "1 refused");
    assert_eq!(weixin.seen(SEND), 2);
}

#[test]
fn consents_are_recorded_once() {
    let setup = Setup::new();
    let grants = || -> Vec<_> {
        let listed = setup.run(&["grant", "list", "--to", "oUser", "--json"]).json().remove(0);
        listed["grants"].as_array().unwrap().iter().map(|grant| grant["state"].clone()).collect()
    };
    let record = |key| setup.command(&["grant", "record", "--key", key]).consent("oUser").run();
    let id = record("visit-1").out.trim().to_owned();
    record("visit-1").said(0, "recorded before");
    record("visit-2").said(0, "adds nothing");
    setup.run(&["grant", "void", &id]).said(0, "void");
    setup.run(&["grant", "void", &id]).said(3, "the grant was not voided");
    record("visit-1").said(0, "recorded before");
    assert_eq!(grants(), ["void"]);

    let consent = |more: &str| format!(r#"{{"openid":"oUser","template_id":"{TEMPLATE}","scene":7{more}}}"#);
    let (path, file) =
        (setup.path("consents.jsonl"), [consent(r#","id":1"#), consent(r#","id":"1""#), consent("")]);
    std::fs::write(&path, file.join("\n")).unwrap();
    setup.run(&["grant", "import", &path]).said(0, "1 recorded, 1 recorded before, 1 add nothing");
    setup.run(&["grant", "import", &path]).said(0, "0 recorded, 3 recorded before, 0 add nothing");
    assert_eq!(grants(), ["void", "open"]);
    std::fs::write(&path, [consent(""), consent(r#","scen":7"#)].join("\n")).unwrap();
    setup.run(&["grant", "import", &path]).said(2, "line 2: unknown field `scen`");
    assert!(setup.run(&["grant", "list", "--to", "oUser"]).out.contains("  open  "));
}

/// Each read of the file would need more memory than the process may have.
#[cfg(target_os = "linux")]
#[test]
fn consents_of_a_large_file_are_not_kept_in_memory() {
    let (setup, filler) = (Setup::new(), "x".repeat(16 << 10));
    let consent = |number| {
        format!(r#"{{"openid":"o{number}","template_id":"{TEMPLATE}","scene":7,"id":"{number} {filler}"}}"#)
    };
    let lines = (0..4_000).map(consent).collect::<Vec<_>>().join("\n");
    let path = setup.path("consents.jsonl");
    std::fs::write(&path, &lines).unwrap();
    let import = |file: &str| {
        let call =
            setup.command(&["grant", "import", file]).under_shell(r#"ulimit -d 49152; exec "$0" "$@""#);
        call.env("TOKIO_WORKER_THREADS", "1")
    };
    import(&path).run().said(0, "4000 recorded, 0 recorded before");
    import("-").input(lines).run().said(0, "0 recorded, 4000 recorded before");
    let listed = setup.run(&["grant", "list", "--state", "open", "--json"]).json().remove(0);
    let users: HashSet<_> =
        listed["grants"].as_array().unwrap().iter().map(|grant| &grant["openid"]).collect();
    assert_eq!(users.len(), 4_000);
}

/// A name stands for one user, template and scene, so nothing is recorded under that of another.
#[test]
fn consent_under_the_name_of_another_is_refused() {
    let setup = Setup::new();
    let record = |user| setup.command(&["grant", "record", "--key", "visit-1"]).consent(user).run();
    record("oUser").said(0, "recorded");
    record("oOther").assert_wrong(&["--key: it was used for another consent; choose another one"]);
    let import = |consents: &[(&str, &str)]| {
        let line = |(user, id): &(&str, &str)| {
            format!(r#"{{"openid":"{user}","template_id":"{TEMPLATE}","scene":7,"id":{id}}}"#)
        };
        let path = setup.path("consents.jsonl");
        std::fs::write(&path, consents.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
        setup.run(&["grant", "import", &path])
    };
    import(&[("oA", "7"), ("oB", "\"7\"")]).assert_wrong(&["line 2: id: it was used for another consent"]);
    // An empty id is none.
    import(&[("oC", "\"\""), ("oD", "\"\"")]).said(0, "2 recorded, 0 recorded before");
}

/// As if a database were away for a moment.
#[test]
fn worker_until_empty_goes_on_after_a_failed_read() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.add("oUser").args(&["--send-at", "2090-01-01T00:00:00Z"]).run().said(0, "");
    let mut worker = setup.worker(&weixin.base).start();
    let connection = rusqlite::Connection::open(setup.path("ledger.db")).unwrap();
    let rename = |from, to| connection.execute(&format!("ALTER TABLE {from} RENAME TO {to}"), []).unwrap();
    rename("wxsub_app", "away");
    read_until(&mut BufReader::new(worker.stderr.take().unwrap()), "warning: ledger");
    rename("away", "wxsub_app");
    signal(&worker, "TERM");
    assert_eq!(worker.wait().unwrap().code(), Some(0));
}

/// The name of the operator comes from the environment, and goes to the terminal of another one.
#[test]
fn history_has_no_control_characters() {
    let setup = Setup::new();
    let id = setup.add("oUser").run().out.trim().to_owned();
    let cancel = setup.command(&["outbox", "cancel", &id]).env("USER", "eve\u{1b}[2J\nstate: sent\u{202e}");
    cancel.run().said(0, "cancelled");
    let shown = setup.run(&["outbox", "show", &id]);
    shown.printed(0, "  cancelled by eve [2J state: sent \n");
    assert!(!shown.out.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}

#[test]
fn url_of_another_database_is_not_repeated() {
    for words in [&["outbox", "list"][..], &["outbox", "pause"], &["ledger", "check"], &["ledger", "migrate"]]
    {
        let url = "mysql://wxsub:PLANTED@db.example/wxsub";
        let ended = wxsub(words).args(&["--outbox", url]).env("WXSUB_APPID", APPID).run();
        ended.assert_wrong(&["must be a SQLite file, or postgres://USER@HOST/DATABASE; this is another URL"]);
        assert!(!ended.err.contains("PLANTED"), "{ended:?}");
    }
}

#[test]
fn signed_callback_is_verified_and_recorded_once() {
    let setup = Setup::new();
    let key = setup.path("consent.key");
    wxsub(&["consent", "key", "--out", &key]).run().said(0, "written to ");
    wxsub(&["consent", "key", "--out", &key]).run().said(2, "the file exists");
    assert_eq!(Path::new(&key).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&key).unwrap();
    assert!(bytes.len() > 32 && wxsub(&["consent", "key"]).run().out.len() == bytes.len());
    let url = |more: &[&str]| {
        let url = ["consent", "url", "--mobile", "--template", TEMPLATE, "--scene", "7", "--appid", APPID];
        wxsub(&url).args(more).run()
    };
    for (wrong, text) in [
        (&["--session", "session-1"][..], "--signing-key-file <FILE>"),
        (&["--signing-key-file", &key], "--session <S>"),
        (&["--session", "", "--signing-key-file", &key], "'--session <S>'"),
        (&["--session", "s", "--signing-key-file", &key, "--reserved", "r"], "cannot be used with"),
        (&["--session", "s", "--signing-key-file", "/dev/zero"], "/dev/zero: must have 32 to 4096 bytes"),
        (&["--session", "s", "--signing-key-file", "/none"], "--signing-key-file: /none cannot be read: "),
    ] {
        url(wrong).assert_wrong(&[text]);
    }
    let request = url(&["--session", "session-1", "--signing-key-file", &key]);
    assert_eq!((request.code, request.err.as_str()), (0, ""));
    let request = request.json().remove(0);
    let callback = |action: &str| {
        let reserved = request["reserved"].as_str().unwrap();
        format!(
            "https://a.example/?openid=oUser&template_id={TEMPLATE}&action={action}&scene=7&reserved={reserved}"
        )
    };
    let record = |action: &str, session: &str| {
        let callback = ["--callback", &callback(action), "--session", session, "--signing-key-file", &key];
        setup.command(&["grant", "record", "--json"]).args(&callback).run()
    };
    record("confirm", "session-2").said(2, "callback rejected: its request was for another session");
    let other = setup.path("other.key");
    std::fs::write(&other, "an old key, which is long enough to be one\n").unwrap();
    let with_other_key = || {
        let callback = callback("cancel");
        let callback = ["--callback", &callback, "--session", "session-1", "--signing-key-file", &other];
        setup.command(&["grant", "record"]).args(&callback)
    };
    with_other_key().run().said(2, "callback rejected: its request was signed with another key");
    with_other_key().args(&["--previous-key-file", &key]).run().said(3, "the user cancelled");
    record("cancel", "session-1").said(3, "the user cancelled; nothing was recorded");
    assert!(!Path::new(&setup.path("ledger.db")).exists());
    let first = record("confirm", "session-1").json().remove(0);
    assert_eq!(first["outcome"], "recorded");
    let again = record("confirm", "session-1").json().remove(0);
    assert_eq!((&again["outcome"], &again["grant"]), (&"already_recorded".into(), &first["grant"]));
    std::fs::write(&key, "short\n").unwrap();
    record("confirm", "session-1").said(2, "must have 32 to 4096 bytes");
}
