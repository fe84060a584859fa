//! The outbox and its worker.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

mod outbox {
    mod consents;
    mod gate;
    mod harness;
    mod idle;
    mod inbox;
    mod queued;
    mod synchronous;
    mod webhooks;
}
