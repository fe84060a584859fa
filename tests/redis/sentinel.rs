//! A sentinel that watches one master and can replace it alone. The process ends with its value.

use std::fs;

use tempfile::TempDir;

use super::server::{Process, Redis, ask};
use crate::free_port::free_port;

/// The name of the master.
pub(super) const MASTER: &str = "main";

pub(super) struct Sentinel {
    pub(super) port: u16,
    process: Process,
    _folder: TempDir,
}

impl Sentinel {
    pub(super) fn watching(master: &Redis) -> Self {
        let (port, folder) = (free_port(), TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 10000\n",
            master.port
        );
        fs::write(folder.path().join("sentinel.conf"), settings).unwrap();
        let process = Process::start(folder.path(), &["sentinel.conf", "--sentinel"], "+monitor master");
        Self { port, process, _folder: folder }
    }

    /// Whether it knows this replica of its master. Then the replica can take over.
    pub(super) fn knows(&self, replica: &Redis) -> bool {
        let known = ask(self.port, &format!("SENTINEL REPLICAS {MASTER}"));
        known.contains(&replica.port.to_string()) && known.contains("master-link-status\r\n$2\r\nok")
    }

    /// Suspends the sentinel, as `kill -STOP`.
    pub(super) fn suspend(&self) {
        self.process.signal("-STOP");
    }
}
