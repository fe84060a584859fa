//! `wxsub outbox`, `wxsub grant`, `wxsub ledger` and `wxsub send --file` on a PostgreSQL.

#[path = "../../../wxsub-postgres/tests/postgres/server.rs"]
mod server;

use self::server::{PASSWORD, Postgres};
use super::durable::{Setup, lines, outcomes};
use super::weixin::{APPID, TEMPLATE, Weixin, pointed_at};
use super::wxsub::{Ended, Wxsub, wxsub};
use crate::free_port::free_port;

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

    fn command<const N: usize>(&self, words: [&str; N]) -> Wxsub {
        wxsub(words).args(["--outbox", &self.postgres.url()]).env("WXSUB_APPID", APPID)
    }

    fn add(&self, user: &str) -> Ended {
        let message =
            ["--to", user, "--template", TEMPLATE, "--scene", "7", "--title", "t", "--content", "c"];
        self.command(["outbox", "add"]).args(message).args(["--key", user]).run()
    }

    fn send(&self) -> Ended {
        let file = self.setup.path("lines.jsonl");
        let command = wxsub(["send", "--file", &file, "--outbox", &self.postgres.url()]);
        pointed_at(&self.weixin.base, command.args(["--batch", "spring"])).run()
    }
}

fn said(ended: &Ended, code: i32, text: &str) {
    assert!(ended.code == code && ended.err.contains(text), "{text:?}: {ended:?}");
    assert!(!ended.err.contains(PASSWORD), "{ended:?}");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn messages_are_recorded_sent_and_shown() {
    let database = Database::start();
    said(&database.command(["outbox", "list"]).run(), 2, "its schema has version 0");
    database.weixin.allow("oUser", 7);
    let consent = ["--to", "oUser", "--template", TEMPLATE, "--scene", "7"];
    assert_eq!(database.command(["grant", "record"]).args(consent).run().code, 0);
    let added = database.add("oUser");
    assert_eq!(added.code, 0, "{added:?}");
    let id = added.out.trim();
    assert_eq!(database.add("oUser").out.trim(), id, "the key is the same");
    let open = database.command(["grant", "list", "--state", "reserved", "--json"]).run();
    assert_eq!(open.json()[0]["grants"].as_array().unwrap().len(), 1, "{open:?}");

    let worker = database.command(["outbox", "run", "--until-empty"]);
    let sent = pointed_at(&database.weixin.base, worker).run();
    assert!(sent.code == 0 && sent.out.contains("sent"), "{sent:?}");
    let shown = database.command(["outbox", "show", id]).run();
    assert!(shown.code == 0 && shown.out.contains("claimed"), "{shown:?}");
    said(&database.command(["ledger", "check"]).run(), 0, "no problems");
    said(&wxsub(["ledger", "migrate", "--url", &database.postgres.url()]).run(), 0, "up to date");
    said(&database.command(["ledger", "prune"]).run(), 0, "deleted messages: 0");
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
    let unknown = database.command(["ledger", "prune", "--batch", "summer"]).run();
    said(&unknown, 2, "its batches: \"spring\"");
    said(&database.command(["ledger", "prune", "--batch", "spring"]).run(), 0, "keys deleted: 5");
}

/// A transaction of the application.
fn insert(postgres: &Postgres, rows: &str, end: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let sql = postgres.sql().await;
        sql.batch_execute(&format!("BEGIN; {rows}; {end}")).await.unwrap();
    });
}

fn row(number: u32, appid: &str, user: &str) -> String {
    let message = format!(
        r#"{{"touser":"{user}","template_id":"{TEMPLATE}","scene":"7","title":"t","data":{{"content":{{"value":"c"}}}}}}"#
    );
    format!(
        "INSERT INTO wxsub_inbox (id, appid, message) VALUES ('0190c2a0-0000-7000-8000-{number:012x}', '{appid}', '{message}')"
    )
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn rows_of_the_inbox_in_the_ledger_are_sent() {
    let database = Database::start();
    said(&wxsub(["ledger", "migrate", "--url", &database.postgres.url()]).run(), 0, "up to date");
    database.weixin.allow("oUser", 7);
    insert(&database.postgres, &row(1, APPID, "oOther"), "ROLLBACK");
    let rows = [row(2, APPID, "oUser"), row(3, "w x", "oUser"), row(4, "wx0000000000000009", "oUser")];
    insert(&database.postgres, &rows.join(";"), "COMMIT");
    let worker = database.command(["outbox", "run", "--until-empty"]);
    let ended = pointed_at(&database.weixin.base, worker).run();
    assert_eq!(ended.out, "0190c2a0-0000-7000-8000-000000000002 sent to oUser\n", "{ended:?}");
    said(
        &ended,
        0,
        "inbox: row 0190c2a0-0000-7000-8000-000000000003 stays in the table, and 0 others: appid: ",
    );
    said(&ended, 0, "inbox: rows of other apps: 1");
    let restored = database.command(["ledger", "restore", "--snapshot"]).run();
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
        let command = database.setup.command(["outbox", "run", "--until-empty", "--inbox", url]);
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
    said(&denied.env("LC_ALL", "zh_CN").run(), 2, "127.0.0.1 上的 数据库：服务器拒绝登录");
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
        let command = wxsub(["send", "--file", &file, "--outbox", ledger, "--batch", "spring"]);
        pointed_at(&database.weixin.base, command).run()
    };
    assert_eq!(send(&path).code, 0);
    let add = ["--to", "oLater", "--template", TEMPLATE, "--scene", "7", "--title", "t", "--content", "c"];
    let in_file = |words: [&str; 2]| wxsub(words).args(["--outbox", &path]).env("WXSUB_APPID", APPID);
    let added = in_file(["outbox", "add"]).args(add).args(["--key", "later"]).run();
    assert_eq!(added.code, 0, "{added:?}");
    let before = in_file(["outbox", "list"]).run();
    // With a line of headings.
    assert_eq!(before.out.lines().count(), 7, "{before:?}");
    let copy = |from: &str, to: &str| wxsub(["ledger", "copy", "--from", from, "--to", to]).run();
    let (from, to) = (format!("sqlite:{path}"), database.postgres.url());
    said(&copy(&to, &to), 2, "--from: must be sqlite:");
    said(&copy(&from, &from), 2, "--to: must be postgres://");
    said(&copy(&from, &to), 0, "history: 6; ");
    let after = database.command(["outbox", "list"]).run();
    assert_eq!(after.out, before.out, "{after:?}");
    said(&database.command(["ledger", "check"]).run(), 0, "no problems");
    assert_eq!(database.add("oUser").code, 0);

    // The batch is finished, and the key is known.
    let again = send(&to);
    assert!(again.code == 0 && again.err.contains("5"), "{again:?}");
    let again = database.command(["outbox", "add"]).args(add).args(["--key", "later"]).run();
    assert_eq!(again.out, added.out, "{again:?}");

    said(&copy(&from, &to), 2, "wxsub_message has rows");
    let old = in_file(["outbox", "add"]).args(add).run();
    said(&old, 2, "it was moved to another database");
    // To go back loses what happened since, so what was not final is unknown.
    let restored = in_file(["ledger", "restore"]).args(["--snapshot"]).run();
    said(&restored, 0, "messages that became maybe_sent: 1");
}

#[test]
#[ignore = "needs postgresql: scripts/test runs it"]
fn what_a_database_cannot_do_is_said() {
    let database = Database::start();
    assert_eq!(database.add("oUser").code, 0);
    let copy = database.setup.path("copy");
    said(&database.command(["ledger", "backup", "--to", &copy]).run(), 2, "pg_dump");
    said(&database.command(["ledger", "restore"]).run(), 2, "nothing was restored");
    let restored = database.command(["ledger", "restore", "--snapshot"]).run();
    said(&restored, 0, "messages that became maybe_sent: 1");
    let secret = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres", database.postgres.port);
    let list = |url: &str| wxsub(["outbox", "list", "--outbox", url]).env("WXSUB_APPID", APPID);
    said(&list(&secret).run(), 2, "WXSUB_LEDGER_PASSWORD_FILE");
    let url = secret.replacen(&format!(":{PASSWORD}"), "", 1);
    said(&list(&url).run(), 2, "the server refused the login");
    let password = database.postgres.file("password file", PASSWORD);
    let with_file = list(&url).env("WXSUB_LEDGER_PASSWORD_FILE", password.to_str().unwrap()).run();
    assert_eq!(with_file.code, 0, "{with_file:?}");
    let nothing = format!("postgres://postgres@127.0.0.1:{}/postgres", free_port());
    said(&list(&nothing).run(), 4, "no connection");
}
