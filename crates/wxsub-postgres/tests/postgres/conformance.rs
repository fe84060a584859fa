//! The ledger in PostgreSQL passes the conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wxsub_core::testing::ManualClock;
use wxsub_outbox::Ledger;
use wxsub_outbox::testing::ledger_conformance;
use wxsub_postgres::{PostgresLedger, PostgresOptions};

use super::server::Postgres;

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn postgres_ledger_passes_the_conformance_suite() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    let count = AtomicUsize::new(0);
    let make = async |clock: Arc<ManualClock>| {
        let schema = format!("ledger{}", count.fetch_add(1, Ordering::Relaxed));
        sql.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let options = PostgresOptions::new(postgres.url_in_schema(&schema)).clock(clock);
        Arc::new(PostgresLedger::connect(options).await.unwrap()) as Arc<dyn Ledger>
    };
    ledger_conformance::run(make).await;
}
