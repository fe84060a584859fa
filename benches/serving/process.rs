//! Processes under measurement, on the core of the servers, and wrk, which puts load on them.

use std::path::Path;
use std::process::{Command, Stdio};

use wxsub_benches::{output, subject};
use wxsub_test_support::{Process, proc_fs};

/// The core of the servers. One of them is under load at a time.
const SERVERS: &str = "0";

/// The core of everything else: wrk, Weixin, the constant server, Redis.
pub(crate) const CALLERS: &str = "1";

/// Starts a program on the core of the servers.
pub(crate) fn server(program: &Path, words: &[&str]) -> Process {
    start(on(SERVERS, program).args(words))
}

/// Starts this benchmark in another role, on the core of the servers.
pub(crate) fn in_role(words: &[&str]) -> Process {
    server(&std::env::current_exe().unwrap(), words)
}

/// Starts the constant server, on the core of the callers.
pub(crate) fn upstream() -> Process {
    start(on(CALLERS, &std::env::current_exe().unwrap()).arg("upstream"))
}

fn start(command: &mut Command) -> Process {
    wxsub_benches::start(command.env("APP_SECRET", subject::secret().expose_secret()).stderr(Stdio::null()))
}

fn on(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", core]).arg(program);
    command
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/serving/load.lua");

/// The content type of most bodies.
pub(crate) const JSON: &str = "application/json";

/// What to request, and for how long.
pub(crate) struct Load<'a> {
    pub(crate) url: String,
    pub(crate) key: &'a str,
    /// The body of a POST.
    pub(crate) body: Option<&'a str>,
    pub(crate) content_type: &'a str,
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
    pub(crate) fn on(&self, server: &Process) -> Loaded {
        // taskset replaces itself by the program it starts.
        let before = proc_fs::cpu(&server.id());
        let said = self.wrk();
        let cpu = proc_fs::cpu(&server.id()) - before;
        let result = said.lines().find_map(|line| line.strip_prefix("result "));
        let result = result.unwrap_or_else(|| panic!("wrk said: {said}"));
        let numbers: Vec<f64> = result.split(' ').map(|number| number.parse().unwrap()).collect();
        let [responses, micros, median, p99, errors] = numbers[..] else { panic!("wrk said: {said}") };
        assert!(responses > 0.0 && errors == 0.0, "{} failed: {said}", self.url);
        Loaded {
            rate: responses / micros * 1e6,
            cpu: cpu.as_nanos() as f64 / responses,
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
            .args(self.body.into_iter().flat_map(|body| ["--", body, self.content_type]));
        output(&mut wrk)
    }
}
