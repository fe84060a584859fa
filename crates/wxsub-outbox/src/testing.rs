//! The contract that every ledger must keep, for your tests.

pub mod ledger_contract;
