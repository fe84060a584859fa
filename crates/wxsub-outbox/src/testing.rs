//! The conformance suite that every ledger must pass, for your tests.

pub mod ledger_conformance;
