//! Everything Redis is asked, from beginning to end, over all its lives.

use std::io::Read;
use std::thread::{JoinHandle, spawn};

use super::server::Redis;

#[derive(Default)]
pub(super) struct Recorder(Vec<JoinHandle<Vec<u8>>>);

impl Recorder {
    /// From now until this life of Redis ends.
    pub(super) fn record(&mut self, redis: &Redis) {
        let mut monitor = redis.monitor();
        monitor.set_read_timeout(None).unwrap();
        self.0.push(spawn(move || {
            let mut all = Vec::new();
            // A Redis that is killed resets the connection; what came before that counts.
            let _ = monitor.read_to_end(&mut all);
            all
        }));
    }

    /// What was recorded, once Redis has been killed.
    pub(super) fn play(self) -> String {
        let pieces = self.0.into_iter().map(|recording| recording.join().unwrap());
        String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
    }
}
