//! A sentinel that watches one master and can replace it alone. The process ends with its value.

use std::fs;

use tempfile::TempDir;
use wxsub_test_support::{Process, Redis, free_port, memory_folder, redis, signal};

/// The name of the master.
pub(super) const MASTER: &str = "main";

pub(super) struct Sentinel {
    pub(super) port: u16,
    process: Process,
    _folder: TempDir,
}

impl Sentinel {
    pub(super) fn watching(master: &Redis) -> Self {
        let (port, folder) = (free_port(), memory_folder());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 10000\n",
            master.port
        );
        fs::write(folder.path().join("sentinel.conf"), settings).unwrap();
        let process = redis::start(folder.path(), &["sentinel.conf", "--sentinel"], "+monitor master");
        Self { port, process, _folder: folder }
    }

    /// Whether it knows this replica of its master. Then the replica can take over.
    pub(super) fn knows(&self, replica: &Redis) -> bool {
        let known = redis::ask(self.port, &format!("SENTINEL REPLICAS {MASTER}"));
        known.contains(&replica.port.to_string()) && known.contains("master-link-status\r\n$2\r\nok")
    }

    /// Suspends the sentinel, as `kill -STOP`.
    pub(super) fn suspend(&self) {
        signal(self.process.id(), "STOP");
    }
}
