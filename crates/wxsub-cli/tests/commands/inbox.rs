//! `wxsub outbox run --inbox`: an application inserts rows into a MariaDB, and the sandbox gets the messages.

use mysql_async::prelude::Queryable;
use tokio::runtime::Runtime;
use wxsub_mysql::GRANTS;
use wxsub_outbox::inbox::MYSQL_TABLE;
use wxsub_test_support::Mariadb;

use super::durable::Setup;
use super::weixin::{APPID, Weixin, line, pointed_at};
use super::wxsub::Wxsub;

/// A database `shop` with the table, and the user `wxsub`.
struct Shop {
    server: Mariadb,
    runtime: Runtime,
}

impl Shop {
    fn open() -> Self {
        let (server, runtime) = (Mariadb::start(), Runtime::new().unwrap());
        let made = server.run(&["CREATE DATABASE shop", "CREATE USER wxsub IDENTIFIED BY 'secret'"]);
        runtime.block_on(made);
        let shop = Self { server, runtime };
        shop.transaction(&[MYSQL_TABLE.to_owned(), GRANTS.to_owned()], "COMMIT");
        shop
    }

    /// A transaction of the application.
    fn transaction(&self, statements: &[String], end: &str) {
        self.runtime.block_on(async {
            let mut connection = self.server.root(Some("shop")).await;
            connection.query_drop("START TRANSACTION").await.unwrap();
            for statement in statements {
                connection.query_drop(statement).await.unwrap();
            }
            connection.query_drop(end).await.unwrap();
        });
    }

    /// The rows that are left, with their error.
    fn rows(&self) -> Vec<(String, Option<String>)> {
        self.runtime.block_on(async {
            self.server.root(Some("shop")).await.query("SELECT id, error FROM wxsub_inbox").await.unwrap()
        })
    }
}

fn id(number: u32) -> String {
    format!("0190c2a0-0000-7000-8000-{number:012x}")
}

fn row(number: u32, appid: &str, message: &str) -> String {
    format!("INSERT INTO wxsub_inbox (id, appid, message) VALUES ('{}', '{appid}', '{message}')", id(number))
}

fn message(user: &str) -> String {
    line(user, 7, "c")
}

fn worker(setup: &Setup, base: &str, url: &str) -> Wxsub {
    std::fs::write(setup.path("password"), "secret\n").unwrap();
    let command = setup.command(&["outbox", "run", "--until-empty", "--inbox", url]);
    pointed_at(base, command).env("WXSUB_INBOX_PASSWORD_FILE", &setup.path("password"))
}

#[test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
fn committed_rows_are_sent_and_others_are_not() {
    let (setup, weixin, shop) = (Setup::new(), Weixin::start(), Shop::open());
    let url = shop.server.url("wxsub", "shop");
    weixin.allow("b", 7);
    shop.transaction(&[row(1, APPID, &message("a"))], "ROLLBACK");
    let rows =
        [row(2, APPID, &message("b")), row(3, "wx0000000000000009", &message("c")), row(4, APPID, "{}")];
    shop.transaction(&rows, "COMMIT");

    let ended = worker(&setup, &weixin.base, &url).run();
    let rejected =
        format!("inbox: row {} stays in the table, and 0 others: appid: wx0000000000000009", id(3));
    ended.said(0, "new ledger: ").says(&rejected);
    let mut lines: Vec<_> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], format!("{} sent to b", id(2)));
    assert!(
        lines[1].starts_with(&format!("{} not_sent, invalid to : touser: is missing", id(4))),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2);
    let left = shop.rows();
    assert!(left.len() == 1 && left[0].0 == id(3), "{left:?}");
    assert!(left[0].1.as_ref().unwrap().contains("is not served from this inbox"), "{left:?}");

    // The application repeats its transaction.
    shop.transaction(&rows[..1], "COMMIT");
    let again = worker(&setup, &weixin.base, &url).run();
    assert_eq!((again.code, again.out.as_str(), shop.rows().len()), (0, "", 1), "{again:?}");
}

#[test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
fn an_inbox_that_cannot_be_used_is_refused_at_the_start() {
    let (setup, weixin, mut shop) = (Setup::new(), Weixin::start(), Shop::open());
    let url = shop.server.url("wxsub", "shop");
    let with_password = worker(&setup, &weixin.base, "mysql://wxsub:secret@127.0.0.1/shop").run();
    with_password.said(2, "--inbox: the URL has a password");
    with_password.said(2, "name the file in WXSUB_INBOX_PASSWORD_FILE");
    assert!(!with_password.err.contains("secret"), "{with_password:?}");
    let wrong = setup.path("wrong");
    std::fs::write(&wrong, "guess").unwrap();
    let denied = worker(&setup, &weixin.base, &url).env("WXSUB_INBOX_PASSWORD_FILE", &wrong);
    denied.run().said(2, "inbox: 127.0.0.1").says("Access denied").says("check the user, the password file");
    let denied = worker(&setup, &weixin.base, &url).env("WXSUB_INBOX_PASSWORD_FILE", &wrong);
    denied.env("LC_ALL", "zh_CN").run().said(2, "请检查用户名、密码文件");
    shop.server.kill();
    worker(&setup, &weixin.base, &url).run().said(4, "inbox unavailable: ").says("Connection refused");
}
