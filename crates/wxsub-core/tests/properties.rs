//! The thirteen promises of the token cache, as properties of the refresh state for any sequence of events. Each has a mutant;
//! `scripts/check-mutants` shows that the tests catch it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "tests may panic, and share one small world"
)]

mod properties {
    mod attempts;
    mod clocks;
    mod expiry;
    mod generations;
    mod lost_responses;
    mod reports;
    mod scenario;
    mod schedule;
    mod stable;
}
