//! The ledger and the inbox in memory pass the conformance suites.

use std::sync::Arc;

use wxsub_outbox::testing::{MemoryInbox, inbox_conformance, ledger_conformance};
use wxsub_outbox::{Ledger, MemoryLedger};

#[tokio::test]
async fn memory_ledger_passes_the_conformance_suite() {
    ledger_conformance::run(async |clock| Arc::new(MemoryLedger::with_clock(clock)) as Arc<dyn Ledger>).await;
}

#[tokio::test]
async fn memory_inbox_passes_the_conformance_suite() {
    inbox_conformance::run(async || MemoryInbox::new()).await;
}
