//! Ledgers in a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod postgres {
    mod backup;
    mod conformance;
    mod fixture;
    mod inbox;
    mod languages;
    mod lost_replies;
    mod machines;
    mod notifications;
    mod own_inbox;
    mod proxy;
    mod refusals;
    mod webhooks;
    mod workers;
}
