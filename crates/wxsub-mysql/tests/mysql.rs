//! Inboxes in a real MariaDB.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "../../../tests/free_port.rs"]
mod free_port;
#[path = "../../../tests/inbox_programs.rs"]
mod inbox_programs;

mod mysql {
    mod conformance;
    mod languages;
    mod operating;
    mod server;
    mod transactions;
}
