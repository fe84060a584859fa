//! wrk: 64 connections, each with one request at a time.

use std::process::{Command, Stdio};

use crate::process::{CALLERS, Running};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/serving/load.lua");

/// What to request, and for how long.
pub(crate) struct Load<'a> {
    pub(crate) url: String,
    pub(crate) key: &'a str,
    /// The body of a POST.
    pub(crate) body: Option<&'a str>,
    pub(crate) seconds: u64,
}

/// What wrk measured, and the CPU time of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loaded {
    /// Responses per second.
    pub(crate) rate: f64,
    /// CPU time of the server per response, in nanoseconds.
    pub(crate) cpu: f64,
    /// The median latency, in nanoseconds.
    pub(crate) median: f64,
    /// The 99th percentile of the latency, in nanoseconds.
    pub(crate) p99: f64,
}

impl Load<'_> {
    /// Runs wrk, and measures the CPU time of this server.
    pub(crate) fn on(&self, server: &Running) -> Loaded {
        let before = server.cpu();
        let said = self.wrk();
        let cpu = server.cpu() - before;
        let result = said.lines().find_map(|line| line.strip_prefix("result "));
        let result = result.unwrap_or_else(|| panic!("wrk said: {said}"));
        let numbers: Vec<f64> = result.split(' ').map(|number| number.parse().unwrap()).collect();
        let [answers, micros, median, p99, errors] = numbers[..] else { panic!("wrk said: {said}") };
        assert!(answers > 0.0 && errors == 0.0, "{} failed: {said}", self.url);
        Loaded {
            rate: answers / micros * 1e6,
            cpu: cpu.as_nanos() as f64 / answers,
            median: median * 1e3,
            p99: p99 * 1e3,
        }
    }

    fn wrk(&self) -> String {
        let mut wrk = Command::new("taskset");
        wrk.args(["--cpu-list", CALLERS, "wrk", "--threads", "1", "--connections", "64", "--script", SCRIPT])
            .arg(format!("--duration={}s", self.seconds))
            .arg(format!("--header=Authorization: Bearer {}", self.key))
            .arg(&self.url)
            .args(self.body.into_iter().flat_map(|body| ["--", body]));
        let ended = wrk.stderr(Stdio::inherit()).output().expect("wrk");
        assert!(ended.status.success(), "{wrk:?}");
        String::from_utf8(ended.stdout).unwrap()
    }
}
