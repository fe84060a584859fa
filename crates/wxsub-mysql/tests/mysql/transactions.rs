//! The transactions of the application beside those of the copier.

use std::future::pending;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use wxsub_core::Client;
use wxsub_core::testing::MockTransport;
use wxsub_outbox::inbox::{Inbox, InboxCopier};
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::testing::inbox_conformance::{InboxTable, numbered_row};
use wxsub_outbox::{App, MemoryLedger, Outbox};
use wxsub_test_support::Mariadb;

use super::conformance::{Table, insert};

fn outbox() -> Outbox {
    let client = Client::builder("wx1", "SECRET", Arc::new(MockTransport::new())).build().unwrap();
    Outbox::builder(MemoryLedger::new()).app(App::new("wx1".parse().unwrap(), client)).build()
}

async fn recorded(outbox: &Outbox) -> usize {
    outbox.ledger().messages(&MessageQuery::new("wx1".parse().unwrap())).await.unwrap().len()
}

/// For an hour or longer: the row is not seen, and neither side waits for the other.
#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn an_open_transaction_of_the_application_blocks_nothing() {
    let server = Mariadb::start();
    let table = Table::make(&server, "shop").await;
    let mut slow = server.root(Some("shop")).await;
    let mut other = server.root(Some("shop")).await;
    for connection in [&mut slow, &mut other] {
        // A statement that waits for a lock fails at once.
        connection.query_drop("SET SESSION innodb_lock_wait_timeout = 0").await.unwrap();
        connection.query_drop("START TRANSACTION").await.unwrap();
    }
    insert(&mut slow, numbered_row(5)).await.unwrap();
    insert(&mut other, numbered_row(3)).await.unwrap();
    insert(&mut other, numbered_row(7)).await.unwrap();
    other.query_drop("COMMIT").await.unwrap();
    server.run(&["SET GLOBAL innodb_lock_wait_timeout = 1"]).await;
    let mut inbox = table.inbox().await;
    let mut ids = async || inbox.read(9).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids().await, [numbered_row(3).id, numbered_row(7).id]);
    // The copier has locked both, and the application inserts before, between and after them.
    for number in [1, 4, 6, 9] {
        insert(&mut other, numbered_row(number)).await.unwrap();
    }
    insert(&mut slow, numbered_row(8)).await.unwrap();
    let copied = vec![numbered_row(3).id, numbered_row(7).id];
    inbox.finish(copied, Vec::new()).await.unwrap();
    let mut ids = async || inbox.read(9).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids().await, [1, 4, 6, 9].map(|number| numbered_row(number).id));
    slow.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(ids().await.len(), 4, "rolled back means that it never was");
    insert(&mut slow, numbered_row(2)).await.unwrap();
    assert_eq!(ids().await.len(), 5, "a lower id is committed later, and is read");
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn ten_thousand_rows_of_one_transaction_are_copied_by_two_copiers() {
    let server = Mariadb::start();
    let table = Table::make(&server, "shop").await;
    let mut application = server.root(Some("shop")).await;
    application.query_drop("START TRANSACTION").await.unwrap();
    let rows: Vec<_> = (0..10_000).map(numbered_row).collect();
    for rows in rows.chunks(1_000) {
        let values: Vec<_> =
            rows.iter().map(|row| format!("('{}', '{}', '{}')", row.id, row.appid, row.message)).collect();
        let insert = format!("INSERT INTO wxsub_inbox (id, appid, message) VALUES {}", values.join(", "));
        application.query_drop(insert).await.unwrap();
    }
    let outbox = outbox();
    let copiers =
        [InboxCopier::new(&outbox, table.inbox().await), InboxCopier::new(&outbox, table.inbox().await)];
    let mut statuses = copiers.each_ref().map(InboxCopier::status);
    let copying = copiers.map(|copier| tokio::spawn(copier.run(pending())));
    for status in &mut statuses {
        status.wait_for(|status| status.is_empty).await.unwrap();
    }
    assert_eq!(recorded(&outbox).await, 0, "nothing is committed yet");
    application.query_drop("COMMIT").await.unwrap();
    while recorded(&outbox).await < 10_000 || !table.rows().await.is_empty() {
        statuses[0].changed().await.unwrap();
    }
    copying.iter().for_each(tokio::task::JoinHandle::abort);
    let copied: u64 = statuses.iter().map(|status| status.borrow().copied).sum();
    assert_eq!((copied, recorded(&outbox).await), (10_000, 10_000));
}

/// The columns of the table may be left out, as the documentation says.
#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn an_insert_needs_id_app_and_message_only() {
    let server = Mariadb::start();
    let table = Table::make(&server, "shop").await;
    let message = numbered_row(1).message;
    let mut application = server.root(Some("shop")).await;
    let insert = "INSERT INTO wxsub_inbox (id, appid, message) VALUES (UUID(), ?, ?)";
    application.exec_drop(insert, ("wx1", &message)).await.unwrap();
    let not_json = application.exec_drop(insert, ("wx1", "{")).await.unwrap_err();
    assert!(not_json.to_string().contains("CONSTRAINT"), "MariaDB checks the JSON: {not_json}");
    let outbox = outbox();
    assert_eq!(InboxCopier::new(&outbox, table.inbox().await).copy().await, Ok(1));
    assert_eq!((recorded(&outbox).await, table.rows().await), (1, Vec::new()));
    let created =
        "SELECT created_at_ms BETWEEN (UNIX_TIMESTAMP() - 60) * 1000 AND (UNIX_TIMESTAMP() + 60) * 1000
         FROM wxsub_inbox";
    application.exec_drop(insert, ("wx1", &message)).await.unwrap();
    assert_eq!(application.query_first::<u8, _>(created).await.unwrap(), Some(1));
}
