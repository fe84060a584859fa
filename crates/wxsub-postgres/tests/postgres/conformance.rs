//! The ledger in PostgreSQL passes the conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wxsub_core::testing::ManualClock;
use wxsub_outbox::Ledger;
use wxsub_outbox::testing::ledger_conformance;
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::Postgres;

/// The rights that the document names, for another schema and role.
pub(super) fn rights(schema: &str, role: &str) -> String {
    let document = include_str!("../../../../docs/postgres.md");
    let rights = document.lines().filter(|line| line.starts_with("GRANT"));
    let rights: Vec<_> = rights.map(|line| line.replace("SCHEMA wxsub ", "SCHEMA NAME ")).collect();
    let rights = rights.join("\n").replace("TO wxsub;", &format!("TO {role};"));
    let rights = rights.replace("SCHEMA NAME", &format!("SCHEMA {schema}"));
    format!("SET search_path = {schema}; {rights} RESET search_path")
}

/// With a role that has the documented rights and no others.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn postgres_ledger_passes_the_conformance_suite() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    sql.batch_execute("CREATE ROLE worker LOGIN").await.unwrap();
    let count = AtomicUsize::new(0);
    let make = async |clock: Arc<ManualClock>| {
        let schema = format!("ledger{}", count.fetch_add(1, Ordering::Relaxed));
        sql.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let owner = PostgresOptions::new(postgres.url_in_schema(&schema));
        drop(PostgresLedger::connect(owner).await.unwrap());
        sql.batch_execute(&rights(&schema, "worker")).await.unwrap();
        let url = format!("{}?options=-csearch_path%3D{schema}", postgres.url_as("worker"));
        let options = PostgresOptions::new(url).clock(clock).migrate(false);
        Arc::new(PostgresLedger::connect(options).await.unwrap()) as Arc<dyn Ledger>
    };
    ledger_conformance::run(make).await;
}
