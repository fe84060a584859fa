//! The ledger in memory passes the conformance suite.

use std::sync::Arc;

use wxsub_outbox::testing::ledger_conformance;
use wxsub_outbox::{Ledger, MemoryLedger};

#[tokio::test]
async fn memory_ledger_passes_the_conformance_suite() {
    ledger_conformance::run(async |clock| Arc::new(MemoryLedger::with_clock(clock)) as Arc<dyn Ledger>).await;
}
