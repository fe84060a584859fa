//! Kills a process that runs an outbox, at named points and at random times, and asks a witness what became of the messages.
//!
//! The program is judge and worker: the judge starts itself as the worker. `scripts/kill-test --runs 1000` runs more kills
//! than the tests do. docs/outbox-model.md says what is checked.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and says what it found"
)]

#[path = "kill/arguments.rs"]
mod arguments;
#[path = "kill/crash_ledger.rs"]
mod crash_ledger;
#[path = "kill/database.rs"]
mod database;
#[path = "kill/disk.rs"]
mod disk;
mod free_port;
#[path = "kill/inbox.rs"]
mod inbox;
#[path = "kill/judge.rs"]
mod judge;
#[path = "../crates/wxsub-mysql/tests/mysql/server.rs"]
mod mariadb;
#[path = "kill/orders.rs"]
mod orders;
#[path = "kill/plan.rs"]
mod plan;
#[path = "../crates/wxsub-postgres/tests/postgres/server.rs"]
mod server;
#[path = "kill/servers.rs"]
mod servers;
#[path = "kill/tcp_transport.rs"]
mod tcp_transport;
#[path = "kill/verdict.rs"]
mod verdict;
#[path = "kill/worker.rs"]
mod worker;

use arguments::Role;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match Role::read(std::env::args().skip(1)) {
        Role::Worker(life) => worker::live(life).await,
        Role::Judge(sitting) => judge::run(sitting).await,
        Role::Servers(sitting) => servers::run(sitting).await,
        Role::Nothing => {}
    }
}
