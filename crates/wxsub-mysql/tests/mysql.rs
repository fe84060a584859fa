//! Inboxes in a real MariaDB.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod mysql {
    mod conformance;
    mod languages;
    mod operating;
    mod transactions;
}
