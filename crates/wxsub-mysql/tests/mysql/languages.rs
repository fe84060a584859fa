//! The programs of docs/inbox-programs.md for MariaDB.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use wxsub_core::Client;
use wxsub_core::testing::MockTransport;
use wxsub_outbox::inbox::{InboxCopier, MYSQL_TABLE};
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::testing::inbox_conformance::InboxTable;
use wxsub_outbox::{App, MemoryLedger, Outbox};
use wxsub_test_support::Mariadb;
use wxsub_test_support::inbox_programs::{APP, DOCUMENT, PROGRAMS};

use super::conformance::Table;

#[test]
fn the_document_has_the_table_and_the_rights() {
    assert!(DOCUMENT.contains(MYSQL_TABLE) && DOCUMENT.contains(wxsub_mysql::GRANTS));
    assert!(DOCUMENT.contains(&format!("At most {} bytes", wxsub_outbox::inbox::MAX_MESSAGE_BYTES)));
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn each_program_records_an_order_and_its_message() {
    let server = Mariadb::start();
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
    for (number, program) in PROGRAMS.iter().enumerate() {
        program.run("3306", server.port);
        let language = program.language;
        let state: Option<String> = root.query_first("SELECT state FROM orders").await.unwrap();
        assert_eq!(state.as_deref(), Some("paid"), "{language}");
        root.query_drop("UPDATE orders SET state = 'open'").await.unwrap();
        assert_eq!(copier.copy().await, Ok(1), "{language}");
        assert_eq!(table.rows().await, [], "{language}");
        let messages = outbox.ledger().messages(&MessageQuery::new(APP.parse().unwrap())).await.unwrap();
        assert_eq!(messages.len(), number + 1, "{language}");
        assert!(messages.iter().all(|message| message.state == MessageState::Queued), "{language}");
    }
}
