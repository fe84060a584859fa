//! The thirteen promises of the token keeper, as properties of the pure lifecycle: whatever happens, in whatever order.
//! Each was seen red against a deliberately broken lifecycle; `scripts/check-mutants` does that again.

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
