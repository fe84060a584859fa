//! A server that copies the rows of inboxes, which its configuration names, in MariaDB and in PostgreSQL.

use mysql_async::prelude::Queryable;
use wxsub_mysql::GRANTS;
use wxsub_outbox::inbox::{MYSQL_TABLE, POSTGRES_TABLE};
use wxsub_postgres::INBOX_GRANTS;
use wxsub_server::StartCheck;
use wxsub_test_support::{Mariadb, Postgres};

use super::databases::{Folder, check, one};
use super::outbox::{OUTBOX_SCOPES, ledger_config};
use super::setup::{ALL, Setup, client, config, key, message, until};

async fn until_received(setup: &Setup, openid: &str, count: usize) {
    until(async || setup.received(openid) == count).await;
}

fn row(number: u32, appid: &str, openid: &str) -> String {
    let (id, message) = (format!("0190c2a0-0000-7000-8000-{number:012x}"), message(openid, 1));
    format!("INSERT INTO wxsub_inbox (id, appid, message) VALUES ('{id}', '{appid}', '{message}')")
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn rows_of_both_kinds_of_inboxes_are_sent() {
    let (postgres, mariadb, folder) = (Postgres::start(), Mariadb::start(), Folder::new());
    let sql = postgres.sql().await;
    sql.batch_execute(&format!(
        "CREATE ROLE wxsub LOGIN PASSWORD 'secret'; {POSTGRES_TABLE}; {INBOX_GRANTS}"
    ))
    .await
    .unwrap();
    mariadb.run(&["CREATE DATABASE shop", "CREATE USER wxsub IDENTIFIED BY 'secret'"]).await;
    let mut shop = mariadb.root(Some("shop")).await;
    for statement in [MYSQL_TABLE, GRANTS] {
        shop.query_drop(statement).await.unwrap();
    }
    let password = folder.password("p", "secret");
    let inbox = |url: String, apps: &str| {
        format!("[[inboxes]]\nurl = {url:?}\napps = [{apps}]\npassword_file = {password:?}\n")
    };
    let of_postgres = inbox(format!("postgres://wxsub@127.0.0.1:{}/postgres", postgres.port), "\"*\"");
    let of_mariadb = inbox(mariadb.url("wxsub", "shop"), "\"wx1\"");
    let client = client('a', "\"*\"", &format!("{ALL}, {OUTBOX_SCOPES}"));
    let ledger = format!("{client}[ledger]\nurl = \"sqlite:{}\"\n", folder.0.path().join("l.db").display());
    let text = format!("{ledger}{of_postgres}{of_mariadb}");
    assert_eq!(check(&text).await, StartCheck::default());

    let setup = Setup::in_real_time(config(&text)).await;
    setup.server.run_worker();
    for openid in ["oPostgres", "oMaria", "oLater"] {
        setup.allow(openid, 1);
    }
    sql.batch_execute(&row(1, "wx1", "oPostgres")).await.unwrap();
    shop.query_drop(row(2, "wx1", "oMaria")).await.unwrap();
    // The inbox is of another app.
    shop.query_drop(row(3, "wx2", "oMaria")).await.unwrap();
    until_received(&setup, "oPostgres", 1).await;
    until_received(&setup, "oMaria", 1).await;
    let metrics = async || setup.ask("GET", "/metrics", None, "").await.text;
    until(async || metrics().await.contains("wxsub_inbox_rejected_total 1")).await;
    let left: Vec<(String, Option<String>)> =
        shop.query("SELECT appid, error FROM wxsub_inbox").await.unwrap();
    let [(appid, Some(error))] = left.as_slice() else { panic!("{left:?}") };
    assert!(appid == "wx2" && error.starts_with("appid: "), "{error}");

    // A reload without the inbox leaves its rows.
    setup.server.reload(&config(&format!("{ledger}{of_mariadb}"))).unwrap();
    sql.batch_execute(&row(4, "wx1", "oLater")).await.unwrap();
    setup.allow("oMaria", 1);
    shop.query_drop(row(5, "wx1", "oMaria")).await.unwrap();
    until_received(&setup, "oMaria", 2).await;
    let waiting = sql.query_one("SELECT count(*) FROM wxsub_inbox", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!((waiting, setup.received("oLater")), (1, 0));
    setup.server.reload(&config(&text)).unwrap();
    until_received(&setup, "oLater", 1).await;
}

/// No database listens at the port.
#[tokio::test]
async fn inbox_that_cannot_be_read_is_a_problem_of_the_server() {
    let text = |inboxes: &str| format!("{}{}{inboxes}", client('o', "\"*\"", "\"admin\""), ledger_config());
    let inbox = "[[inboxes]]\nurl = \"mysql://wxsub@127.0.0.1:1/shop\"\napps = [\"*\"]\n";
    let (setup, _ledger) = Setup::with_ledger(&text(inbox)).await;
    let problems = async || setup.get("/v1/apps", &key('o')).await.json()["problems"].clone();
    while problems().await.is_null() {
        setup.pass(1).await;
    }
    let problem = problems().await[0].clone();
    assert_eq!(problem["kind"], "inbox", "{problem}");
    let text_of = |key: &str| problem[key].as_str().unwrap().to_owned();
    assert!(text_of("text").starts_with("the rows of inboxes[0] have not been taken since 20"), "{problem}");
    assert!(text_of("text").contains(": inbox unavailable: "), "{problem}");
    assert!(text_of("text_zh").contains("inbox 不可用"), "{problem}");
    setup.pass(2).await;
    let metrics = setup.ask("GET", "/metrics", None, "").await.text;
    let failures = metrics.lines().find_map(|line| line.strip_prefix("wxsub_inbox_failures_total "));
    assert!(failures.unwrap().parse::<u32>().unwrap() >= 3, "{metrics}");
    setup.server.reload(&config(&text(""))).unwrap();
    setup.pass(1).await;
    assert!(problems().await.is_null());
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn check_names_the_inbox_that_cannot_be_used() {
    let (mut mariadb, folder) = (Mariadb::start(), Folder::new());
    mariadb.run(&["CREATE DATABASE shop", "CREATE USER wxsub IDENTIFIED BY 'secret'"]).await;
    let password = folder.password("p", "secret");
    let text = format!(
        "[ledger]\nurl = \"sqlite:{}\"\n[[inboxes]]\nurl = {:?}\napps = [\"wx1\"]\npassword_file = {password:?}\n",
        folder.0.path().join("l.db").display(),
        mariadb.url("wxsub", "shop"),
    );
    one(&check(&text).await.refusals, "inboxes[0]: ", "error 1044");
    mariadb.kill();
    one(&check(&text).await.warnings, "inboxes[0]: ", "inbox unavailable");
}
