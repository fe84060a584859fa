//! The programs of docs/inbox.md for PostgreSQL, as they are written there.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::NoTls;
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery};
use wxsub_outbox::state::MessageState;
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_proto::AppId;

use super::server::Postgres;

const DOCUMENT: &str = include_str!("../../../../docs/inbox.md");
const APP: &str = "wx0123456789abcdef";

/// The code block in this language that connects to PostgreSQL.
fn block(language: &str) -> &'static str {
    let fence = format!("\n```{language}\n");
    let blocks = DOCUMENT.split(&fence).skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let mut found = blocks.filter(|block| block.contains("5432"));
    found.next().unwrap_or_else(|| panic!("no block in {language}"))
}

/// Runs the program against the server at this port.
fn run(language: &str, port: u16, folder: &Path, file: &str, command: &[&str]) {
    let program = block(language).replace("5432", &port.to_string());
    std::fs::write(folder.join(file), program).unwrap();
    let output = Command::new(command[0])
        .args(&command[1..])
        .arg(file)
        .current_dir(folder)
        .env("CLASSPATH", "/usr/share/java/postgresql.jar")
        .env("GOPATH", "/usr/share/gocode")
        .env("GO111MODULE", "off")
        .env("GOCACHE", folder.join("go"))
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{language}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn each_program_records_an_order_and_its_message() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    postgres.sql().await.batch_execute("CREATE DATABASE shop").await.unwrap();
    let url = postgres.url_of("shop");
    let (sql, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    sql.batch_execute(
        "CREATE ROLE shop LOGIN PASSWORD 'secret'; CREATE SCHEMA wxsub;
         CREATE TABLE orders (id integer PRIMARY KEY, state text); INSERT INTO orders VALUES (4711, 'open');
         GRANT SELECT, UPDATE ON orders TO shop",
    )
    .await
    .unwrap();
    let ledger = PostgresOptions::new(format!("{url}?options=-csearch_path%3Dwxsub"));
    let ledger = PostgresLedger::connect(ledger).await.unwrap();
    let rights = DOCUMENT.lines().filter(|line| line.starts_with("GRANT") && line.ends_with(" TO shop;"));
    sql.batch_execute(&rights.collect::<Vec<_>>().join("\n")).await.unwrap();
    let appid: AppId = APP.parse().unwrap();
    for (number, (language, file, command)) in [
        ("python", "pay.py", &["/usr/bin/python3"][..]),
        ("php", "pay.php", &["php"]),
        ("java", "Pay.java", &["java"]),
        ("go", "pay.go", &["go", "run"]),
        ("js", "pay.js", &["node"]),
    ]
    .into_iter()
    .enumerate()
    {
        run(language, postgres.port, folder.path(), file, command);
        let state = sql.query_one("SELECT state FROM orders", &[]).await.unwrap();
        assert_eq!(state.get::<_, &str>(0), "paid", "{language}");
        sql.batch_execute("UPDATE orders SET state = 'open'").await.unwrap();
        let apps = std::sync::Arc::new([(appid.clone(), false)].into());
        let moved = ledger.commit(vec![Change::MoveInbox { apps, limit: 9 }]).await.unwrap().remove(0);
        let Ok(Applied::Moved(moved)) = moved else { panic!("{language}: {moved:?}") };
        assert_eq!((moved.new.len(), moved.rejected), (1, vec![]), "{language}");
        let messages = ledger.messages(&MessageQuery::new(appid.clone())).await.unwrap();
        assert_eq!(messages.len(), number + 1, "{language}");
        let message = messages.iter().find(|message| message.state != MessageState::Queued);
        assert!(message.is_none(), "{language}: {message:?}");
    }
}
