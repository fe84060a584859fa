//! A `wxsub serve` process that can be killed, suspended and restarted. Its log is kept.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use super::super::interrupt::signal;
use super::super::weixin::SECRET;
use super::super::wxsub::wxsub;
use super::call::Call;

pub(super) struct Node {
    child: Child,
    pub(super) address: String,
    log: Arc<Mutex<String>>,
}

impl Node {
    /// Starts it, and waits until it listens.
    pub(super) fn start(config: &str) -> Self {
        let mut child = wxsub(["serve", "--config", config]).env("APP_SECRET", SECRET).start();
        let log = Arc::new(Mutex::new(String::new()));
        let (said, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        // Read continuously, because a full pipe blocks the server.
        spawn(move || said.lines().map_while(Result::ok).for_each(|line| keep(&kept, &line)));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("http://").map(str::to_owned);
        let Some(address) = address else { panic!("it did not start: {}", log.lock().unwrap()) };
        Self { child, address, log }
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its log so far.
    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        let call = Call { method: "GET", path: "/metrics", key: "", body: "" };
        let (status, text) = call.at(&self.address, || false).unwrap();
        assert_eq!(status, 200);
        text
    }

    /// The value of this metric, or 0 if it does not exist yet.
    pub(super) fn metric(&self, name_and_labels: &str) -> u64 {
        let text = self.metrics();
        let found = text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }
}

fn keep(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap();
    log.push_str(line);
    log.push('\n');
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
