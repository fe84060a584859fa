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
