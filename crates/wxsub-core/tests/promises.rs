//! The thirteen promises of the token keeper, as properties of the pure lifecycle: whatever happens, in whatever order.
//! Each was seen red against a deliberately broken lifecycle; `scripts/show-red` does that again.

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

mod promises {
    mod attempts;
    mod clocks;
    mod ends;
    mod generations;
    mod lost_answers;
    mod reports;
    mod schedule;
    mod stable;
    mod world;
}
