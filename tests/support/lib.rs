//! Processes and private servers for the tests and benchmarks of the workspace.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "test support may panic, and waits for real processes"
)]

mod authority;
mod free_port;
pub mod inbox_programs;
mod mariadb;
pub mod postgres;
pub mod proc_fs;
mod process;
pub mod redis;
mod service_user;

pub use authority::Authority;
pub use free_port::free_port;
pub use mariadb::Mariadb;
pub use postgres::Postgres;
pub use process::{Lines, Process, Stream, signal, succeed};
pub use redis::Redis;

use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The longest wait for another process.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Waits until this is true, for at least [`WAIT_TIMEOUT`].
pub fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..WAIT_TIMEOUT.as_millis() / PAUSE.as_millis() {
        if is_true() {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what}: not within {WAIT_TIMEOUT:?}");
}

/// An empty folder, which is deleted when this is dropped. It is in memory where there is such a folder: no test cuts the power.
pub fn memory_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}
