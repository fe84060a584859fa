//! The ledger in SQLite passes the conformance suite.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wxsub_core::testing::ManualClock;
use wxsub_outbox::Ledger;
use wxsub_outbox::testing::ledger_conformance;
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

#[tokio::test]
async fn sqlite_ledger_passes_the_conformance_suite() {
    // In memory where there is such a folder: the suite does not test power cuts, and makes hundreds of ledgers.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let count = AtomicUsize::new(0);
    let make = async |clock: Arc<ManualClock>| {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        let options = SqliteOptions::new().clock(clock);
        Arc::new(SqliteLedger::open(folder.path().join(name), options).await.unwrap()) as Arc<dyn Ledger>
    };
    ledger_conformance::run(make).await;
}
