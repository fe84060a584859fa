//! The outbox and its worker.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

#[path = "outbox/consents.rs"]
mod consents;
#[path = "outbox/gate.rs"]
mod gate;
#[path = "outbox/harness.rs"]
mod harness;
#[path = "outbox/idle.rs"]
mod idle;
#[path = "outbox/inbox.rs"]
mod inbox;
#[path = "outbox/queued.rs"]
mod queued;
#[path = "outbox/synchronous.rs"]
mod synchronous;
