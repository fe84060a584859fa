//! A sentinel that watches one master and can replace it alone. The process ends with its value.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::server::{Redis, ask};
use crate::free_port::free_port;

/// The name of the master.
pub(super) const MASTER: &str = "main";

pub(super) struct Sentinel {
    pub(super) port: u16,
    folder: PathBuf,
    child: Child,
}

impl Sentinel {
    pub(super) fn watching(master: &Redis) -> Self {
        let port = free_port();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sentinel-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 10000\n",
            master.port
        );
        fs::write(folder.join("sentinel.conf"), settings).unwrap();
        let mut child = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().unwrap().contains("+monitor master"));
        assert!(ready.is_some(), "the sentinel did not start");
        Self { port, folder, child }
    }

    /// Whether it knows this replica of its master. Then the replica can take over.
    pub(super) fn knows(&self, replica: &Redis) -> bool {
        let known = ask(self.port, &format!("SENTINEL REPLICAS {MASTER}"));
        known.contains(&replica.port.to_string()) && known.contains("master-link-status\r\n$2\r\nok")
    }

    /// Suspends the sentinel, as `kill -STOP`.
    pub(super) fn suspend(&self) {
        assert!(
            Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status().unwrap().success()
        );
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
