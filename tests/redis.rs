//! Processes that share tokens through a real Redis.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may panic, and say why"
)]

mod free_port;

mod redis {
    mod certificates;
    mod faults;
    mod notifications;
    mod refusals;
    mod sentinel;
    mod server;
    mod store;
}
