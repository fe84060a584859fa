//! Ledgers on disks that are full, write-protected or on a network, and ledgers that are not usable. The journal of the sandbox
//! is the judge. Tests that mount a disk do so in a mount namespace of their own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use wxsub_sandbox::Sandbox;

use super::durable::{Setup, lines, outcomes, user};
use super::interrupt::signal;
use super::weixin::{APPID, Gate, SEND, Weixin, pointed_at};
use super::wxsub::{Ended, Wxsub, wxsub};

/// The call in a mount namespace of its own, after this command of the shell.
fn after_mount(call: Wxsub, mount: &str) -> Wxsub {
    call.under_shell(&format!(
        r#"exec unshare --map-root-user --mount sh -c '{mount} && exec "$0" "$@"' "$0" "$@""#
    ))
}

/// The call with a limit for the size of each file, in blocks of 512 bytes or more. A longer one cannot be written.
fn with_file_limit(call: Wxsub, blocks: u32) -> Wxsub {
    call.under_shell(&format!(r#"trap '' XFSZ; ulimit -f {blocks}; exec "$0" "$@""#))
}

/// A disk of four MB in a mount namespace, which lives as long as this.
struct Disk {
    holder: Child,
    folder: String,
}

impl Disk {
    fn mount(folder: String) -> Self {
        fs::create_dir(&folder).unwrap();
        let mount = format!("mount -t tmpfs -o size=4m tmpfs '{folder}' && echo mounted && read end");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &mount]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        Self { holder, folder }
    }

    /// The call with this disk.
    fn run_on(&self, call: Wxsub) -> Wxsub {
        let id = self.holder.id();
        call.under_shell(&format!(
            r#"exec nsenter --target {id} --user --preserve-credentials --mount -- "$0" "$@""#
        ))
    }

    /// A file that takes all the room.
    fn filler(&self) -> PathBuf {
        format!("/proc/{}/root{}/filler", self.holder.id(), self.folder).into()
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        for block in [4096, 1] {
            while filler.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Every line was accepted once, and nothing was posted a second time.
fn assert_each_sent_once(setup: &Setup, sandbox: &Sandbox, users: usize) {
    let posts = setup.witnessed();
    for number in 1..=users {
        let name = user(number);
        assert_eq!(posts.get(&name), Some(&(1, 1)), "{name}");
        assert_eq!(sandbox.mailbox(&name.parse().unwrap()).len(), 1, "{name}");
    }
}

/// Reads the errors of a process up to a line with this text.
pub(super) fn read_until(errors: &mut impl BufRead, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        assert!(errors.read_line(&mut read).unwrap() > 0, "{text:?} is not in: {read}");
    }
    read
}

#[test]
fn ledger_that_cannot_be_made_posts_nothing_and_is_made_later() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.keep_journal(&weixin.sandbox);
    setup.write(&lines(&weixin.sandbox, 2, "Hello"));
    for blocks in [0, 8, 100] {
        let full = with_file_limit(pointed_at(&weixin.base, setup.send()), blocks).run();
        assert_eq!((full.code, full.out.as_str()), (4, ""), "{blocks}: {}", full.err);
        full.says("nothing was changed, try again later");
    }
    assert_eq!(weixin.seen_any(), 0);
    let check = wxsub(&["ledger", "check", "--outbox", &setup.path("ledger.db")]).run();
    check.said(2, "its schema has version 0");
    assert_eq!(setup.send_to(&weixin).code, 0);
    assert_each_sent_once(&setup, &weixin.sandbox, 2);
}

/// The name is free for another try.
#[test]
fn secret_that_cannot_be_written_leaves_no_file() {
    let setup = Setup::new();
    let path = setup.path("key");
    for words in [["consent", "key"], ["webhook", "secret"]] {
        let full = with_file_limit(wxsub(&words).args(&["--out", &path]), 0).run();
        full.assert_wrong(&["--out: ", "File too large"]);
        assert!(!fs::exists(&path).unwrap());
    }
}

#[test]
fn disk_that_is_full_while_lines_are_recorded_posts_nothing() {
    const LINES: usize = 400;
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.keep_journal(&weixin.sandbox);
    setup.write(&lines(&weixin.sandbox, LINES, "Hello"));
    let full = with_file_limit(pointed_at(&weixin.base, setup.send()), 800).run();
    assert_eq!((full.code, weixin.seen(SEND)), (4, 0), "{}", full.err);
    full.says(" was not recorded; nothing was posted; run the command again");
    let finished = setup.send_to(&weixin);
    assert_eq!((finished.code, outcomes(&finished).len()), (0, LINES), "{}", finished.err);
    assert_each_sent_once(&setup, &weixin.sandbox, LINES);
}

/// A batch on a disk that is full while 16 messages are in flight.
struct FullBatch {
    setup: Setup,
    gate: Gate,
    disk: Disk,
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

/// How many lines a full batch has.
const LINES: usize = 40;

impl FullBatch {
    fn start() -> Self {
        let (setup, gate) = (Setup::new(), Gate::start());
        setup.keep_journal(&gate.sandbox);
        setup.write(&lines(&gate.sandbox, LINES, "hold"));
        let disk = Disk::mount(setup.path("disk"));
        let mut child = disk.run_on(Self::send(&setup, &gate)).start();
        gate.wait_for(16);
        disk.fill();
        gate.open();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let said = read_until(&mut errors, "waiting up to 60 s");
        assert!(said.contains("ledger unavailable: the disk is full"), "{said}");
        Self { setup, gate, disk, child, errors }
    }

    fn send(setup: &Setup, gate: &Gate) -> Wxsub {
        let (file, ledger) = (setup.path("lines.jsonl"), setup.path("disk/ledger.db"));
        pointed_at(&gate.base, wxsub(&["send", "--file", &file, "--outbox", &ledger]))
    }

    /// How it ends, with the rest of its errors.
    fn end(&mut self) -> (i32, String) {
        let mut rest = String::new();
        while self.errors.read_line(&mut rest).unwrap() > 0 {}
        (self.child.wait().unwrap().code().unwrap(), rest)
    }

    fn run_again(&self) -> Ended {
        self.disk.run_on(Self::send(&self.setup, &self.gate)).run()
    }
}

#[test]
#[ignore = "needs unshare and nsenter: scripts/test runs it"]
fn outcomes_are_recorded_when_a_full_disk_gets_room() {
    let mut batch = FullBatch::start();
    batch.disk.make_room();
    let (code, rest) = batch.end();
    assert_eq!(code, 4, "{rest}");
    assert!(rest.contains("16 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent, 24 queued\n"), "{rest}");
    assert!(rest.contains("commits to the ledger failed in a row; remove the cause first"), "{rest}");
    let finished = batch.run_again();
    assert_eq!((finished.code, outcomes(&finished).len()), (0, LINES), "{}", finished.err);
    assert_each_sent_once(&batch.setup, &batch.gate.sandbox, LINES);
}

#[test]
#[ignore = "needs unshare and nsenter: scripts/test runs it"]
fn outcomes_that_a_full_disk_never_took_are_maybe_sent() {
    let mut batch = FullBatch::start();
    signal(&batch.child, "INT");
    read_until(&mut batch.errors, "finishing messages in flight");
    signal(&batch.child, "INT");
    let (code, rest) = batch.end();
    assert_eq!(code, 5, "{rest}");
    assert!(rest.contains(", 24 queued, 16 in flight\nthose in flight may have been sent"), "{rest}");
    batch.disk.make_room();
    let finished = batch.run_again();
    let outcomes = outcomes(&finished);
    let unknown = outcomes.values().filter(|outcome| *outcome == "maybe_sent").count();
    let sent = outcomes.values().filter(|outcome| *outcome == "sent").count();
    assert_eq!((finished.code, sent, unknown), (5, 24, 16), "{}", finished.err);
    assert_each_sent_once(&batch.setup, &batch.gate.sandbox, LINES);
}

#[test]
#[ignore = "needs unshare and nsenter: scripts/test runs it"]
fn write_protected_ledger_says_what_is_protected() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 1, "Hello"));
    let (folder, ledger) = (setup.path(""), setup.path("ledger.db"));
    let of_ledger = |words: &[&str]| wxsub(words).args(&["--outbox", &ledger, "--appid", APPID]);
    assert_eq!(of_ledger(&["outbox", "add"]).message("oUser", "c").run().code, 0);
    let protect = |what: &str| format!("mount --bind -o ro {what} {what}");
    let send = after_mount(pointed_at(&weixin.base, setup.send()), &protect(&folder)).run();
    send.said(2, "its lock file cannot be written: Read-only file system");
    let list = after_mount(of_ledger(&["outbox", "list"]), &protect(&folder)).run();
    list.said(2, "this user cannot write to it and its folder, which SQLite needs also to read");
    let pause = after_mount(of_ledger(&["outbox", "pause"]), &protect(&ledger)).run();
    pause.said(2, "this user cannot write to it and its folder");
    let list = after_mount(of_ledger(&["outbox", "list"]), &protect(&ledger)).run();
    assert_eq!((list.code, list.out.lines().count()), (0, 2), "{}", list.err);
}

/// The kernel's list of mounts is replaced.
#[test]
#[ignore = "needs unshare and nsenter: scripts/test runs it"]
fn ledger_on_a_network_is_refused() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 1, "Hello"));
    let (list, folder) = (setup.path("mounts"), fs::canonicalize(setup.path("")).unwrap());
    let nfs = format!("30 22 0:40 / {} rw - nfs4 filer:/srv rw\n", folder.display());
    fs::write(&list, nfs).unwrap();
    let mount = format!("mount --bind {list} /proc/$$/mountinfo");
    let refused = after_mount(pointed_at(&weixin.base, setup.send()), &mount).run();
    assert_eq!((refused.code, weixin.seen_any()), (2, 0), "{}", refused.err);
    refused.says("it is on nfs4, a file system over the network; put it on a local disk");
}

#[test]
fn unusable_ledger_posts_nothing() {
    let (setup, weixin) = (Setup::new(), Weixin::start());
    setup.write(&lines(&weixin.sandbox, 1, "Hello"));
    let path = setup.path("ledger.db");
    let fresh = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{path}{suffix}"));
        }
        let made = wxsub(&["outbox", "resume", "--outbox", &path, "--appid", APPID]);
        fs::write(&path, "").unwrap();
        assert_eq!(made.run().code, 0);
    };
    let refused = |text: &str| {
        let before = fs::read(&path).unwrap();
        let ended = setup.send_to(&weixin);
        assert_eq!((ended.code, weixin.seen_any()), (2, 0), "{}", ended.err);
        ended.says(text);
        assert_eq!(fs::read(&path).unwrap(), before, "{text}");
    };
    fresh();
    let newer = "INSERT INTO wxsub_schema VALUES (9, 'later', 'x', 1)";
    Connection::open(&path).unwrap().execute(newer, []).unwrap();
    refused("its schema has version 9, and this program knows versions up to 1; use the newer program");
    fresh();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 4096..3 * 4096].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    refused("it is damaged: ");
}
