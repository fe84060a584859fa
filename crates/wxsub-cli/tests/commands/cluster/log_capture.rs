//! Captures all commands that Redis receives, across its restarts.

use std::io::Read;
use std::thread::{JoinHandle, spawn};

use super::server::Redis;

#[derive(Default)]
pub(super) struct LogCapture(Vec<JoinHandle<Vec<u8>>>);

impl LogCapture {
    /// Captures commands from now until this Redis process ends.
    pub(super) fn record(&mut self, redis: &Redis) {
        let mut monitor = redis.monitor();
        monitor.set_read_timeout(None).unwrap();
        self.0.push(spawn(move || {
            let mut all = Vec::new();
            // A killed Redis resets the connection. The commands before that count.
            let _ = monitor.read_to_end(&mut all);
            all
        }));
    }

    /// The captured commands, after Redis has been killed.
    pub(super) fn play(self) -> String {
        let pieces = self.0.into_iter().map(|recording| recording.join().unwrap());
        String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
    }
}
