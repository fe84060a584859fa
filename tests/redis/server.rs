//! A private Redis on a free port with a folder of its own. The process ends with its value. The tests of wxsub-cli use it too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::free_port::free_port;

/// A running `redis-server`.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it in this folder, and waits until a line of its output says `ready`.
    pub(crate) fn start(folder: &Path, arguments: &[&str], ready: &str) -> Self {
        let mut command = Command::new("redis-server");
        command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let is_ready = lines.any(|line| line.unwrap().contains(ready));
        assert!(is_ready, "redis-server did not start");
        Self(child)
    }

    /// Sends a signal: `-STOP` suspends, `-CONT` resumes.
    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Redis {
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let port = free_port();
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let usual = format!("--port {port} --bind 127.0.0.1 --save  --appendonly no");
        let arguments = usual.split(' ').chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut redis = Self { port, folder, arguments, process: None };
        redis.start_again();
        redis
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal: `-STOP` suspends, `-CONT` resumes.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Starts again on the same port, empty.
    pub(crate) fn start_again(&mut self) {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let process = Process::start(self.folder.path(), &arguments, "Ready to accept connections");
        self.process = Some(process);
    }

    /// The response of Redis to a line of `redis-cli`.
    pub(crate) fn ask(&self, line: &str) -> String {
        ask(self.port, line)
    }

    /// A connection that receives all commands from now on.
    pub(crate) fn monitor(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }
}

/// The response at this port to a line of `redis-cli`.
pub(crate) fn ask(port: u16, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).unwrap();
    // A sentinel has no QUIT.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
