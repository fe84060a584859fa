//! The inbox in another PostgreSQL: the conformance suite, with a role that has only the documented rights.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio_postgres::Client;
use wxsub_outbox::inbox::{Inbox, InboxError, InboxRow, POSTGRES_INSERT, POSTGRES_TABLE};
use wxsub_outbox::testing::inbox_conformance::{self, InboxTable, numbered_row};
use wxsub_postgres::{INBOX_GRANTS, PostgresInbox, PostgresOptions};
use wxsub_test_support::Postgres;

struct Table<'a> {
    postgres: &'a Postgres,
    schema: String,
    sql: Client,
}

impl<'a> Table<'a> {
    /// In a schema of its own.
    async fn make(postgres: &'a Postgres, schema: &str) -> Self {
        let sql = postgres.sql().await;
        let made = format!(
            "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO wxsub; SET search_path = {schema}; {POSTGRES_TABLE}"
        );
        sql.batch_execute(&made).await.unwrap();
        sql.batch_execute(INBOX_GRANTS).await.unwrap();
        Self { postgres, schema: schema.to_owned(), sql }
    }

    fn options(&self) -> PostgresOptions {
        let url = format!("{}?options=-csearch_path%3D{}", self.postgres.url_as("wxsub"), self.schema);
        PostgresOptions::new(url)
    }

    async fn inbox(&self) -> PostgresInbox {
        PostgresInbox::connect(&self.options()).await.unwrap()
    }
}

async fn insert(sql: &Client, row: InboxRow) {
    let InboxRow { id, appid, message, send_at_ms, expires_at_ms, priority } = row;
    sql.execute(POSTGRES_INSERT, &[&id, &appid, &message, &send_at_ms, &expires_at_ms, &priority])
        .await
        .unwrap();
}

#[async_trait]
impl InboxTable for Table<'_> {
    async fn connect(&self) -> Box<dyn Inbox> {
        Box::new(self.inbox().await)
    }

    async fn insert(&self, row: InboxRow) {
        insert(&self.sql, row).await;
    }

    async fn rows(&self) -> Vec<(String, Option<String>)> {
        let rows = self.sql.query("SELECT id::text, error FROM wxsub_inbox ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn clear_error(&self, id: &str) {
        self.sql.execute("UPDATE wxsub_inbox SET error = NULL WHERE id = $1", &[&id]).await.unwrap();
    }
}

#[test]
fn the_document_has_the_table_and_the_rights() {
    let document = include_str!("../../../../docs/inbox.md");
    assert!(document.contains(POSTGRES_TABLE) && document.contains(INBOX_GRANTS));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn postgres_inbox_passes_the_conformance_suite() {
    let (postgres, number) = (Postgres::start(), AtomicU32::new(0));
    postgres.sql().await.batch_execute("CREATE ROLE wxsub LOGIN").await.unwrap();
    inbox_conformance::run(async || {
        Table::make(&postgres, &format!("case{}", number.fetch_add(1, Ordering::Relaxed))).await
    })
    .await;
}

/// For an hour or longer: the row is not seen, and neither side waits for the other.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn an_open_transaction_of_the_application_blocks_nothing() {
    let postgres = Postgres::start();
    postgres.sql().await.batch_execute("CREATE ROLE wxsub LOGIN").await.unwrap();
    let table = Table::make(&postgres, "shop").await;
    let slow = postgres.sql().await;
    slow.batch_execute("SET search_path = shop; SET lock_timeout = 1; BEGIN").await.unwrap();
    insert(&slow, numbered_row(5)).await;
    for number in [3, 7] {
        table.insert(numbered_row(number)).await;
    }
    let mut inbox = table.inbox().await;
    let ids = async |inbox: &mut PostgresInbox| {
        let rows = inbox.read(9).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids(&mut inbox).await, [3, 7].map(|number| numbered_row(number).id).into());
    insert(&slow, numbered_row(4)).await;
    inbox.finish(vec![numbered_row(3).id, numbered_row(7).id], Vec::new()).await.unwrap();
    assert_eq!(ids(&mut inbox).await, [].into());
    slow.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!((ids(&mut inbox).await, table.rows().await), ([].into(), Vec::new()));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn what_an_inbox_lacks_is_named_and_a_lost_connection_is_made_again() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    sql.batch_execute("CREATE ROLE wxsub LOGIN; CREATE ROLE few LOGIN").await.unwrap();
    let table = Table::make(&postgres, "shop").await;
    let as_few = PostgresOptions::new(format!("{}?options=-csearch_path%3Dshop", postgres.url_as("few")));
    for (grant, remedy) in [
        ("USAGE ON SCHEMA shop", "grant the rights"),
        ("SELECT ON shop.wxsub_inbox", "grant the rights"),
        ("UPDATE (error) ON shop.wxsub_inbox", "grant the rights"),
    ] {
        sql.batch_execute(&format!("GRANT {grant} TO few")).await.unwrap();
        match PostgresInbox::connect(&as_few).await {
            Err(InboxError::Refused(text)) => assert!(text.to_string().contains(remedy), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    sql.batch_execute("GRANT DELETE ON shop.wxsub_inbox TO few").await.unwrap();
    PostgresInbox::connect(&as_few).await.unwrap();
    match PostgresInbox::connect(&PostgresOptions::new(postgres.url_as("few"))).await {
        Err(InboxError::Refused(text)) => assert!(text.to_string().contains("make the table"), "{text}"),
        other => panic!("{other:?}"),
    }

    // As a replica by mistake.
    sql.batch_execute("ALTER ROLE few SET default_transaction_read_only = on").await.unwrap();
    match PostgresInbox::connect(&as_few).await {
        Err(InboxError::Refused(text)) => {
            assert!(text.to_string().contains("the address of the primary"), "{text}");
        }
        other => panic!("{other:?}"),
    }

    table.insert(numbered_row(1)).await;
    let mut inbox = table.inbox().await;
    assert_eq!(inbox.read(9).await.unwrap().len(), 1);
    sql.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'wxsub'")
        .await
        .unwrap();
    let ended = inbox.finish(vec![numbered_row(1).id], Vec::new()).await;
    assert!(matches!(ended, Err(InboxError::Unavailable(_))), "{ended:?}");
    assert_eq!(inbox.read(9).await.unwrap().len(), 1);
    inbox.finish(vec![numbered_row(1).id], Vec::new()).await.unwrap();
    assert_eq!(table.rows().await, []);
}
