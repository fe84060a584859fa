//! The programs of docs/inbox.md, as they are written there.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use tempfile::TempDir;
use wxsub_core::Client;
use wxsub_core::testing::MockTransport;
use wxsub_outbox::inbox::{InboxCopier, MYSQL_TABLE};
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::testing::inbox_conformance::InboxTable;
use wxsub_outbox::{App, MemoryLedger, Outbox};

use super::conformance::Table;
use super::server::Mariadb;

const DOCUMENT: &str = include_str!("../../../../docs/inbox.md");
const APP: &str = "wx0123456789abcdef";

/// The code block in this language that connects to MariaDB.
fn block(language: &str) -> &'static str {
    let fence = format!("\n```{language}\n");
    let blocks = DOCUMENT.split(&fence).skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let mut found = blocks.filter(|block| block.contains("3306"));
    found.next().unwrap_or_else(|| panic!("no block in {language}"))
}

/// Runs the program against the server at this port.
fn run(language: &str, port: u16, folder: &Path, file: &str, command: &[&str]) {
    let program = block(language).replace("3306", &port.to_string());
    std::fs::write(folder.join(file), program).unwrap();
    let output = Command::new(command[0])
        .args(&command[1..])
        .arg(file)
        .current_dir(folder)
        .env("CLASSPATH", "/usr/share/java/mariadb-java-client.jar")
        .env("GOPATH", "/usr/share/gocode")
        .env("GO111MODULE", "off")
        .env("GOCACHE", folder.join("go"))
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{language}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_document_has_the_table_and_the_rights() {
    assert!(DOCUMENT.contains(MYSQL_TABLE) && DOCUMENT.contains(wxsub_mysql::GRANTS));
    assert!(DOCUMENT.contains(&format!("At most {} bytes", wxsub_outbox::inbox::MAX_MESSAGE_BYTES)));
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn each_program_records_an_order_and_its_message() {
    let (server, folder) = (Mariadb::start(), TempDir::new().unwrap());
    let table = Table::make(&server, "shop").await;
    server
        .run(&[
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, state TEXT) ENGINE = InnoDB",
            "INSERT INTO shop.orders VALUES (4711, 'open')",
            "CREATE USER shop IDENTIFIED BY 'secret'",
            "GRANT SELECT, UPDATE ON shop.orders TO shop",
            "GRANT INSERT ON shop.wxsub_inbox TO shop",
        ])
        .await;
    let client = Client::builder(APP, "SECRET", Arc::new(MockTransport::new())).build().unwrap();
    let outbox = Outbox::builder(MemoryLedger::new()).app(App::new(APP.parse().unwrap(), client)).build();
    let mut copier = InboxCopier::new(&outbox, table.inbox().await);
    let mut root = server.root(Some("shop")).await;
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
        run(language, server.port, folder.path(), file, command);
        let state: Option<String> = root.query_first("SELECT state FROM orders").await.unwrap();
        assert_eq!(state.as_deref(), Some("paid"), "{language}");
        root.query_drop("UPDATE orders SET state = 'open'").await.unwrap();
        assert_eq!(copier.copy().await, Ok(1), "{language}");
        assert_eq!(table.rows().await, [], "{language}");
        let messages = outbox.ledger().messages(&MessageQuery::new(APP.parse().unwrap())).await.unwrap();
        assert_eq!(messages.len(), number + 1, "{language}");
        let message = messages.iter().find(|message| message.state != MessageState::Queued);
        assert!(message.is_none(), "{language}: {message:?}");
    }
}
