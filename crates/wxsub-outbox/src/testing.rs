//! For your tests: the conformance suite that every ledger must pass, and ledgers whose commits fail.

mod commit_layer;
pub mod ledger_conformance;

pub use commit_layer::CommitLayer;
