//! Decisions of the refresh state, event by event, beyond the thirteen promises.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_imports,
    reason = "tests may panic, and share one small driver"
)]

mod lifecycle {
    mod attempts;
    mod life;
    mod reports;
    mod store;
}
