//! `wxsub outbox`, `wxsub grant`, `wxsub ledger` and `wxsub send --file` on a PostgreSQL.

use std::io::BufReader;

use wxsub_test_support::postgres::PASSWORD;
use wxsub_test_support::{Postgres, free_port};

use super::disk::read_until;
use super::durable::{Setup, lines, outcomes};
use super::interrupt::signal;
use super::weixin::{APPID, Gate, Weixin, line, pointed_at};
use super::wxsub::{Ended, Wxsub, ended, wxsub};

/// A database, and a simulated Weixin.
struct Database {
    postgres: Postgres,
    weixin: Weixin,
    setup: Setup,
}

impl Database {
    fn start() -> Self {
        Self { postgres: Postgres::start(), weixin: Weixin::start(), setup: Setup::new() }
    }

    fn command(&self, words: &[&str]) -> Wxsub {
        on(&self.postgres.url(), words)
    }

    fn add(&self, user: &str) -> Ended {
        self.command(&["outbox", "add"]).message(user, "c").args(&["--key", user]).run()
    }

    fn send(&self) -> Ended {
        let file = self.setup.path("lines.jsonl");
        let command = wxsub(&["send", "--file", &file, "--outbox", &self.postgres.url()]);
        pointed_at(&self.weixin.base, command.args(&["--batch", "spring"])).run()
    }
}

/// A command on this ledger.
fn on(ledger: &str, words: &[&str]) -> Wxsub {
    wxsub(words).args(&["--outbox", ledger]).env("WXSUB_APPID", APPID)
}

fn said(ended: &Ended, code: i32, text: &str) {
    ended.said(code, text);
    assert!(!ended.err.contains(PASSWORD), "{ended:?}");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn messages_are_recorded_sent_and_shown() {
    let database = Database::start();
    said(&database.command(&["outbox", "list"]).run(), 2, "its schema has version 0");
    database.weixin.allow("oUser", 7);
    assert_eq!(database.command(&["grant", "record"]).consent("oUser").run().code, 0);
    let added = database.add("oUser");
    assert_eq!(added.code, 0, "{added:?}");
    let id = added.out.trim();
    assert_eq!(database.add("oUser").out.trim(), id, "the key is the same");
    let open = database.command(&["grant", "list", "--state", "reserved", "--json"]).run();
    assert_eq!(open.json()[0]["grants"].as_array().unwrap().len(), 1, "{open:?}");

    let worker = database.command(&["outbox", "run", "--until-empty"]);
    let sent = pointed_at(&database.weixin.base, worker).run();
    sent.printed(0, "sent");
    let shown = database.command(&["outbox", "show", id]).run();
    shown.printed(0, "claimed");
    said(&database.command(&["ledger", "check"]).run(), 0, "no problems");
    said(&wxsub(&["ledger", "migrate", "--url", &database.postgres.url()]).run(), 0, "up to date");
    said(&database.command(&["ledger", "prune"]).run(), 0, "deleted messages: 0");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn durable_batch_goes_on_in_a_database() {
    let database = Database::start();
    let file = lines(&database.weixin.sandbox, 5, "c");
    database.setup.write(&file);
    let first = database.send();
    assert_eq!((first.code, outcomes(&first).len()), (0, 5), "{first:?}");
    let posts = database.weixin.sandbox.clone();
    database.setup.keep_journal(&posts);
    let again = database.send();
    assert!(again.code == 0 && database.setup.witnessed().is_empty(), "{again:?}");
    let unknown = database.command(&["ledger", "prune", "--batch", "summer"]).run();
    said(&unknown, 2, "its batches: \"spring\"");
    said(&database.command(&["ledger", "prune", "--batch", "spring"]).run(), 0, "keys deleted: 5");
}

/// The database is gone for good, and so are the outcomes of messages in flight.
#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn batch_that_lost_its_database_names_what_may_have_been_sent() {
    let (mut postgres, gate, setup) = (Postgres::start(), Gate::start(), Setup::new());
    setup.write(&lines(&gate.sandbox, 3, "hold"));
    let (file, ledger) = (setup.path("lines.jsonl"), postgres.url());
    let send = wxsub(&["send", "--file", &file, "--outbox", &ledger, "--concurrency", "1"]);
    let mut child = pointed_at(&gate.base, send).start();
    gate.wait_for(1);
    postgres.stop_immediately();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "INT");
    read_until(&mut errors, "finishing messages in flight");
    signal(&child, "INT");
    let said = read_until(&mut errors, "go on with: wxsub send");
    assert!(said.contains(", 2 queued, 1 in flight\nthose in flight may have been sent"), "{said}");
    assert_eq!(ended(child).code, 5);
}

/// Statements of the application.
fn execute(postgres: &Postgres, statements: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { postgres.sql().await.batch_execute(statements).await.unwrap() });
}

/// A transaction of the application.
fn insert(postgres: &Postgres, rows: &str, end: &str) {
    execute(postgres, &format!("BEGIN; {rows}; {end}"));
}

fn row(number: u32, appid: &str, user: &str) -> String {
    let message = line(user, 7, "c");
    format!(
        "INSERT INTO wxsub_inbox (id, appid, message) VALUES ('0190c2a0-0000-7000-8000-{number:012x}', '{appid}', '{message}')"
    )
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn rows_of_the_inbox_in_the_ledger_are_sent() {
    let database = Database::start();
    said(&wxsub(&["ledger", "migrate", "--url", &database.postgres.url()]).run(), 0, "up to date");
    database.weixin.allow("oUser", 7);
    insert(&database.postgres, &row(1, APPID, "oOther"), "ROLLBACK");
    let rows = [row(2, APPID, "oUser"), row(3, "w x", "oUser"), row(4, "wx0000000000000009", "oUser")];
    insert(&database.postgres, &rows.join(";"), "COMMIT");
    let worker = database.command(&["outbox", "run", "--until-empty"]);
    let ended = pointed_at(&database.weixin.base, worker).run();
    assert_eq!(ended.out, "0190c2a0-0000-7000-8000-000000000002 sent to oUser\n", "{ended:?}");
    said(
        &ended,
        0,
        "inbox: row 0190c2a0-0000-7000-8000-000000000003 stays in the table, and 0 others: appid: ",
    );
    said(&ended, 0, "inbox: rows of other apps: 1");
    let restored = database.command(&["ledger", "restore", "--snapshot"]).run();
    said(&restored, 0, "rows of wxsub_inbox that may have been sent, and have an error now: 1");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn rows_of_an_inbox_in_another_database_are_copied() {
    let database = Database::start();
    insert(
        &database.postgres,
        &format!(
            "CREATE ROLE wxsub LOGIN PASSWORD '{PASSWORD}'; {}; {}",
            wxsub_outbox::inbox::POSTGRES_TABLE,
            wxsub_postgres::INBOX_GRANTS
        ),
        "COMMIT",
    );
    database.weixin.allow("oUser", 7);
    insert(&database.postgres, &row(1, APPID, "oUser"), "COMMIT");
    let url = format!("postgres://wxsub@127.0.0.1:{}/postgres", database.postgres.port);
    let password = database.postgres.file("password file", PASSWORD);
    let worker = |url: &str| {
        let command = database.setup.command(&["outbox", "run", "--until-empty", "--inbox", url]);
        let command = command.env("WXSUB_INBOX_PASSWORD_FILE", password.to_str().unwrap());
        pointed_at(&database.weixin.base, command)
    };
    let with_password = url.replacen("wxsub@", &format!("wxsub:{PASSWORD}@"), 1);
    said(&worker(&with_password).run(), 2, "WXSUB_INBOX_PASSWORD_FILE");
    said(&worker(&with_password).env("LC_ALL", "zh_CN").run(), 2, "URL 中有密码");
    let wrong = database.postgres.file("wrong", "guess");
    let denied = worker(&url).env("WXSUB_INBOX_PASSWORD_FILE", wrong.to_str().unwrap());
    said(&denied.run(), 2, "database at 127.0.0.1: the server refused the login");
    let denied = worker(&url).env("WXSUB_INBOX_PASSWORD_FILE", wrong.to_str().unwrap());
    said(&denied.env("LC_ALL", "zh_CN").run(), 2, "127.0.0.1 上的数据库：服务器拒绝登录");
    let nothing = format!("postgres://wxsub@127.0.0.1:{}/postgres", free_port());
    said(&worker(&nothing).run(), 4, "inbox unavailable: ");
    insert(&database.postgres, "REVOKE DELETE ON wxsub_inbox FROM wxsub", "COMMIT");
    said(&worker(&url).run(), 2, "grant the rights that docs/inbox.md lists");
    insert(&database.postgres, "GRANT DELETE ON wxsub_inbox TO wxsub", "COMMIT");
    let ended = worker(&url).run();
    assert_eq!((ended.code, ended.out.lines().count()), (0, 1), "{ended:?}");
    assert!(ended.out.ends_with("sent to oUser\n"), "{ended:?}");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn a_file_is_moved_to_a_database() {
    let database = Database::start();
    let file = lines(&database.weixin.sandbox, 5, "c");
    database.setup.write(&file);
    let (path, file) = (database.setup.path("moved.db"), database.setup.path("lines.jsonl"));
    let send = |ledger: &str| {
        let command = wxsub(&["send", "--file", &file, "--outbox", ledger, "--batch", "spring"]);
        pointed_at(&database.weixin.base, command).run()
    };
    assert_eq!(send(&path).code, 0);
    let add = |ledger: &str| on(ledger, &["outbox", "add", "--key", "later"]).message("oLater", "c").run();
    let added = add(&path);
    assert_eq!(added.code, 0, "{added:?}");
    let before = on(&path, &["outbox", "list"]).run();
    // With a line of headings.
    assert_eq!(before.out.lines().count(), 7, "{before:?}");
    let copy = |from: &str, to: &str| wxsub(&["ledger", "copy", "--from", from, "--to", to]).run();
    let (from, to) = (format!("sqlite:{path}"), database.postgres.url());
    said(&copy(&to, &to), 2, "--from: must be sqlite:");
    said(&copy(&from, &from), 2, "--to: must be postgres://");
    said(&copy(&from, &to), 0, "audit: 6; ");
    let after = database.command(&["outbox", "list"]).run();
    assert_eq!(after.out, before.out, "{after:?}");
    said(&database.command(&["ledger", "check"]).run(), 0, "no problems");
    assert_eq!(database.add("oUser").code, 0);

    // The batch is finished, and the key is known.
    let again = send(&to);
    again.said(0, "5");
    let again = add(&to);
    assert_eq!(again.out, added.out, "{again:?}");

    said(&copy(&from, &to), 2, "wxsub_message has rows");
    said(&add(&path), 2, "it was moved to another database");
    // Going back loses the changes since the move, so messages that were not final are unknown.
    let restored = on(&path, &["ledger", "restore", "--snapshot"]).run();
    said(&restored, 0, "messages that became maybe_sent: 1");
}

/// How a copy is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    /// The process is killed, and its transaction is rolled back.
    Kill,
    /// The same at Ctrl-C.
    Signal,
    /// The process is killed. The database has got its COMMIT, and ends it.
    KillAfterCommit,
    /// The database ends the session of the process.
    CutOff,
    /// The database does not commit, and the file is locked, so it keeps the mark.
    Cancel,
}

/// Makes each insert into the table wait, or its commit.
fn waiting(table: &str, at_commit: bool) -> String {
    let event = match at_commit {
        true => format!("CONSTRAINT TRIGGER wait AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED"),
        false => format!("TRIGGER wait BEFORE INSERT ON {table}"),
    };
    format!(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
         CREATE {event} FOR EACH ROW EXECUTE FUNCTION wait()"
    )
}

/// Starts a copy, and interrupts it when its transaction waits. Gives how it ended, if it was not killed.
async fn interrupted(url: &str, from: &str, wait: &str, how: Interruption) -> Ended {
    let (sql, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    sql.batch_execute(&format!("{wait}; SELECT pg_advisory_lock(1)")).await.unwrap();
    let mut child = wxsub(&["ledger", "copy", "--from", from, "--to", url]).start();
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while sql.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "{:?}", ended(child));
    }
    match how {
        Interruption::Kill | Interruption::KillAfterCommit => child.kill().unwrap(),
        Interruption::Signal => signal(&child, "INT"),
        Interruption::CutOff | Interruption::Cancel => {}
    }
    let file = rusqlite::Connection::open(from.strip_prefix("sqlite:").unwrap()).unwrap();
    let end = match how {
        Interruption::KillAfterCommit => None,
        Interruption::Cancel => {
            file.execute_batch("BEGIN IMMEDIATE").unwrap();
            Some("pg_cancel_backend")
        }
        _ => Some("pg_terminate_backend"),
    };
    if matches!(how, Interruption::Kill | Interruption::Signal | Interruption::KillAfterCommit) {
        assert_eq!(child.wait().unwrap().code(), None);
    }
    if let Some(end) = end {
        let end = format!("SELECT {end}(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
        sql.batch_execute(&end).await.unwrap();
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    sql.batch_execute("SELECT pg_advisory_unlock(1); DROP FUNCTION wait() CASCADE").await.unwrap();
    Ended { code, out: String::new(), err }
}

/// A file with five sent messages, a queued one with its grant, a line of the audit, and webhooks that were not delivered.
fn filled_file(database: &Database) -> String {
    let path = database.setup.path("filled.db");
    database.setup.write(&lines(&database.weixin.sandbox, 5, "c"));
    let file = database.setup.path("lines.jsonl");
    let batch = wxsub(&["send", "--file", &file, "--outbox", &path, "--batch", "spring"]);
    assert_eq!(pointed_at(&database.weixin.base, batch).run().code, 0);
    assert_eq!(on(&path, &["grant", "record"]).consent("oLater").run().code, 0);
    let add = on(&path, &["outbox", "add", "--key", "later"]).message("oLater", "c");
    assert_eq!(add.run().code, 0);
    let with_webhooks = rusqlite::Connection::open(&path).unwrap();
    with_webhooks
        .execute_batch(
            "INSERT INTO wxsub_webhook_endpoint VALUES ('shop', zeroblob(32), NULL, 'message.sent', 0, 7);
             INSERT INTO wxsub_webhook_delivery SELECT 'shop', id, 3, 'message.sent', '{}', 1, 2, 3, 'status 500'
             FROM wxsub_message WHERE state = 'sent';
             INSERT INTO wxsub_audit (at_ms, actor, address, action, appid, subject, detail, outcome)
             VALUES (1, 'ops', '127.0.0.1', 'pause', NULL, '', '', 'done')",
        )
        .unwrap();
    path
}

/// Rows of a ledger: webhooks, endpoints, keys and grants as they were in the file; and lines of the audit by that operator.
async fn moved_rows(url: &str) -> [i64; 5] {
    let (sql, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let count = "SELECT (SELECT count(*) FROM wxsub_webhook_delivery WHERE due_ms = 3 AND attempt = 2),
        (SELECT count(*) FROM wxsub_webhook_endpoint WHERE disabled_ms = 7), (SELECT count(*) FROM wxsub_key),
        (SELECT count(*) FROM wxsub_grant WHERE state = 'reserved'), (SELECT count(*) FROM wxsub_audit WHERE at_ms = 1)";
    let row = sql.query_one(count, &[]).await.unwrap();
    [0, 1, 2, 3, 4].map(|column| row.get(column))
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn interrupted_copy_is_repeated_and_moves_every_row_once() {
    let (database, runtime) = (Database::start(), tokio::runtime::Runtime::new().unwrap());
    let filled = filled_file(&database);
    let before = on(&filled, &["outbox", "list"]).run();
    assert_eq!(before.out.lines().count(), 7, "{before:?}");
    let cases = [
        ("wxsub_grant", false, Interruption::Kill),
        ("wxsub_message", false, Interruption::Signal),
        ("wxsub_key", false, Interruption::CutOff),
        ("wxsub_webhook_delivery", false, Interruption::Kill),
        ("wxsub_message", true, Interruption::Kill),
        ("wxsub_message", true, Interruption::CutOff),
        ("wxsub_message", true, Interruption::KillAfterCommit),
        ("wxsub_message", true, Interruption::Cancel),
    ];
    for (number, (table, at_commit, how)) in cases.into_iter().enumerate() {
        let (name, path) = (format!("copy{number}"), database.setup.path(&format!("copy{number}.db")));
        std::fs::copy(&filled, &path).unwrap();
        execute(&database.postgres, &format!("CREATE DATABASE {name}"));
        let (from, url) = (format!("sqlite:{path}"), database.postgres.url_of(&name));
        said(&wxsub(&["ledger", "migrate", "--url", &url]).run(), 0, "up to date");
        let ended = runtime.block_on(interrupted(&url, &from, &waiting(table, at_commit), how));
        match (how, at_commit) {
            (Interruption::CutOff, true) => said(&ended, 5, "run the command again"),
            (Interruption::CutOff, false) => assert_eq!(ended.code, 4, "{ended:?}"),
            (Interruption::Cancel, _) => {
                let errors = ["canceling statement", "database is locked"].map(|error| ended.err.find(error));
                assert!(errors.is_sorted() && !errors.contains(&None), "{ended:?}");
            }
            _ => {}
        }
        // The file is used until the commit begins, and never again after that.
        let used = on(&path, &["outbox", "pause"]).run();
        match at_commit {
            true => said(&used, 2, "it was moved to another database"),
            false => assert_eq!(on(&path, &["outbox", "resume"]).run().code, 0, "{used:?}"),
        }
        let again = wxsub(&["ledger", "copy", "--from", &from, "--to", &url]).run();
        match how {
            Interruption::KillAfterCommit => {
                said(&again, 2, "wxsub_grant has rows");
                said(&again, 2, "is marked as moved: if `wxsub outbox list` shows");
            }
            _ => said(&again, 0, "audit: 6; "),
        }
        assert_eq!(on(&url, &["outbox", "list"]).run().out, before.out, "{table} {at_commit} {how:?}");
        said(&on(&url, &["ledger", "check"]).run(), 0, "no problems");
        assert_eq!(runtime.block_on(moved_rows(&url)), [5, 1, 6, 1, 1], "{table} {at_commit} {how:?}");
    }
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn what_a_database_cannot_do_is_said() {
    let database = Database::start();
    assert_eq!(database.add("oUser").code, 0);
    let copy = database.setup.path("copy");
    said(&database.command(&["ledger", "backup", "--to", &copy]).run(), 2, "pg_dump");
    said(&database.command(&["ledger", "restore"]).run(), 2, "nothing was restored");
    let restored = database.command(&["ledger", "restore", "--snapshot"]).run();
    said(&restored, 0, "messages that became maybe_sent: 1");
    let secret = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres", database.postgres.port);
    let list = |url: &str| on(url, &["outbox", "list"]);
    said(&list(&secret).run(), 2, "WXSUB_LEDGER_PASSWORD_FILE");
    let url = secret.replacen(&format!(":{PASSWORD}"), "", 1);
    said(&list(&url).run(), 2, "the server refused the login");
    let password = database.postgres.file("password file", PASSWORD);
    let with_file = list(&url).env("WXSUB_LEDGER_PASSWORD_FILE", password.to_str().unwrap()).run();
    assert_eq!(with_file.code, 0, "{with_file:?}");
    let nothing = format!("postgres://postgres@127.0.0.1:{}/postgres", free_port());
    said(&list(&nothing).run(), 4, "no connection");
}
