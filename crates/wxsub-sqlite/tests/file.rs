//! The file of a ledger: who may open it, what is refused, and copies.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

mod file {
    mod copies;
    mod fixture;
    mod opening;
    mod size;
}
