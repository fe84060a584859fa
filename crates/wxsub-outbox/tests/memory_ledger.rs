//! The ledger in memory keeps the contract of ledgers.

use std::sync::Arc;

use wxsub_outbox::testing::ledger_contract;
use wxsub_outbox::{Ledger, MemoryLedger};

#[tokio::test]
async fn memory_ledger_keeps_the_contract() {
    ledger_contract::run(async |clock| Arc::new(MemoryLedger::with_clock(clock)) as Arc<dyn Ledger>).await;
}
