//! The file of a ledger: who may open it, what is refused, and copies.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

#[path = "file/copies.rs"]
mod copies;
#[path = "file/fixture.rs"]
mod fixture;
#[path = "file/opening.rs"]
mod opening;
#[path = "file/size.rs"]
mod size;
