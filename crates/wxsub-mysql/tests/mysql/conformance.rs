//! The inbox passes the conformance suite, with a user that has only the documented rights.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use wxsub_mysql::{GRANTS, MysqlInbox, MysqlOptions};
use wxsub_outbox::inbox::{Inbox, InboxRow, MYSQL_INSERT, MYSQL_TABLE};
use wxsub_outbox::testing::inbox_conformance::{self, InboxTable};
use wxsub_test_support::Mariadb;

pub(crate) struct Table<'a> {
    pub(crate) server: &'a Mariadb,
    pub(crate) database: String,
}

impl<'a> Table<'a> {
    /// In a database of its own, with the user `wxsub`, who has the documented rights.
    pub(crate) async fn make(server: &'a Mariadb, database: &str) -> Self {
        server.run(&[&format!("CREATE DATABASE {database}"), "CREATE USER IF NOT EXISTS wxsub"]).await;
        let mut root = server.root(Some(database)).await;
        root.query_drop(MYSQL_TABLE).await.unwrap();
        root.query_drop(GRANTS).await.unwrap();
        root.disconnect().await.unwrap();
        Self { server, database: database.to_owned() }
    }

    pub(crate) fn options(&self) -> MysqlOptions {
        MysqlOptions::new(&self.server.url("wxsub", &self.database)).unwrap()
    }

    pub(crate) async fn inbox(&self) -> MysqlInbox {
        MysqlInbox::connect(self.options()).await.unwrap()
    }
}

/// Inserts a row in the open transaction of this connection.
pub(crate) async fn insert(
    connection: &mut mysql_async::Conn,
    row: InboxRow,
) -> Result<(), mysql_async::Error> {
    let InboxRow { id, appid, message, send_at_ms, expires_at_ms, priority } = row;
    connection.exec_drop(MYSQL_INSERT, (id, appid, message, send_at_ms, expires_at_ms, priority)).await
}

#[async_trait]
impl InboxTable for Table<'_> {
    async fn connect(&self) -> Box<dyn Inbox> {
        Box::new(self.inbox().await)
    }

    async fn insert(&self, row: InboxRow) {
        let mut root = self.server.root(Some(&self.database)).await;
        insert(&mut root, row).await.unwrap();
        root.disconnect().await.unwrap();
    }

    async fn rows(&self) -> Vec<(String, Option<String>)> {
        let mut root = self.server.root(Some(&self.database)).await;
        root.query("SELECT id, error FROM wxsub_inbox ORDER BY id").await.unwrap()
    }

    async fn clear_error(&self, id: &str) {
        let mut root = self.server.root(Some(&self.database)).await;
        root.exec_drop("UPDATE wxsub_inbox SET error = NULL WHERE id = ?", (id,)).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn mysql_inbox_passes_the_conformance_suite() {
    let (server, number) = (Mariadb::start(), AtomicU32::new(0));
    inbox_conformance::run(async || {
        let database = format!("case{}", number.fetch_add(1, Ordering::Relaxed));
        Table::make(&server, &database).await
    })
    .await;
}
