//! Kills a process that runs an outbox, at named points and at random times, and asks a witness what became of the messages.
//!
//! The program is judge and worker: the judge starts itself as the worker. `scripts/kill-test --runs 1000` runs more kills
//! than the tests do. docs/outbox-model.md says what is checked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and says what it found"
)]

mod kill {
    pub(crate) mod arguments;
    mod crash_ledger;
    mod database;
    mod disk;
    mod inbox;
    pub(crate) mod judge;
    mod orders;
    mod plan;
    pub(crate) mod servers;
    mod tcp_transport;
    mod verdict;
    pub(crate) mod worker;
}

use kill::arguments::Role;
use kill::{judge, servers, worker};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match Role::read(std::env::args().skip(1)) {
        Role::Worker(run) => worker::run(run).await,
        Role::Judge(settings) => judge::run(settings).await,
        Role::Servers(settings) => servers::run(settings).await,
        Role::Nothing => {}
    }
}
