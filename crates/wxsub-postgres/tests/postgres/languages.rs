//! The programs of docs/inbox-programs.md for PostgreSQL.

use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::NoTls;
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery};
use wxsub_outbox::state::MessageState;
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_proto::AppId;
use wxsub_test_support::inbox_programs::{APP, DOCUMENT, PROGRAMS, blocks};
use wxsub_test_support::{Postgres, succeed};

/// Programs in Rust, with their names. A workspace of their own compiles them.
const RUST: [(&str, &str); 3] = [
    ("tokio-postgres", include_str!("../../../../tests/drivers/src/bin/tokio-postgres.rs")),
    ("sqlx", include_str!("../../../../tests/drivers/src/bin/sqlx.rs")),
    ("diesel", include_str!("../../../../tests/drivers/src/bin/diesel.rs")),
];

/// The database of the application, which has an order and the ledger.
struct Shop {
    sql: tokio_postgres::Client,
    ledger: PostgresLedger,
    appid: AppId,
}

impl Shop {
    async fn open(postgres: &Postgres) -> Self {
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
        Self { sql, ledger, appid: APP.parse().unwrap() }
    }

    /// The order is paid, and the worker moves its row to the ledger. Then the order is open again.
    async fn expect_message(&self, program: &str, messages_before: usize) {
        let state = self.sql.query_one("SELECT state FROM orders", &[]).await.unwrap();
        assert_eq!(state.get::<_, &str>(0), "paid", "{program}");
        self.sql.batch_execute("UPDATE orders SET state = 'open'").await.unwrap();
        let apps = std::sync::Arc::new([(self.appid.clone(), false)].into());
        let moved = self.ledger.commit(vec![Change::MoveInbox { apps, limit: 9 }]).await.unwrap().remove(0);
        let Ok(Applied::Moved(moved)) = moved else { panic!("{program}: {moved:?}") };
        assert_eq!((moved.new.len(), moved.rejected), (1, vec![]), "{program}");
        let messages = self.ledger.messages(&MessageQuery::new(self.appid.clone())).await.unwrap();
        assert_eq!(messages.len(), messages_before + 1, "{program}");
        assert!(messages.iter().all(|message| message.state == MessageState::Queued), "{program}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn each_program_records_an_order_and_its_message() {
    let postgres = Postgres::start();
    let shop = Shop::open(&postgres).await;
    for (number, program) in PROGRAMS.iter().enumerate() {
        program.run("5432", postgres.port);
        shop.expect_message(program.language, number).await;
    }
    let Some((_, search_path)) = DOCUMENT.split_once("(`ALTER ROLE shop SET ") else {
        panic!("no search_path")
    };
    let (search_path, _) = search_path.split_once("`)").unwrap();
    shop.sql.batch_execute(&format!("ALTER ROLE shop SET {search_path}")).await.unwrap();
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let url = format!("postgres://shop:secret@127.0.0.1:{}/shop", postgres.port);
    for (number, (name, _)) in RUST.iter().enumerate() {
        let program = target.join("drivers/debug").join(name);
        // No `.pgpass` or settings of this user.
        let home = TempDir::new().unwrap();
        succeed(Command::new(program).env_clear().env("HOME", home.path()).env("DATABASE_URL", &url));
        shop.expect_message(name, PROGRAMS.len() + number).await;
    }
}

#[test]
fn the_programs_in_rust_are_those_of_the_document() {
    for (name, source) in RUST {
        assert!(blocks("rust,ignore").any(|block| source.starts_with(&format!("{block}\n"))), "{name}");
    }
    assert_eq!(blocks("rust,ignore").count(), RUST.len());
}
