//! For your tests: the conformance suites that every ledger and every inbox must pass, and an inbox in memory.

pub mod inbox_conformance;
pub mod ledger_conformance;
mod memory_inbox;

pub use memory_inbox::MemoryInbox;
