//! For your tests: the conformance suites that every ledger and every inbox must pass, ledgers whose commits fail, and an inbox in
//! memory.

mod commit_layer;
pub mod inbox_conformance;
pub mod ledger_conformance;
mod memory_inbox;

pub use commit_layer::CommitLayer;
pub use memory_inbox::MemoryInbox;
