//! A private Redis on a free port with a folder of its own. The process ends with its value.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, Stream, free_port, memory_folder, signal};

/// Starts `redis-server` in this folder, and waits for a line with `ready`.
pub fn start(folder: &Path, arguments: &[impl AsRef<std::ffi::OsStr>], ready: &str) -> Process {
    let mut command = Command::new("redis-server");
    command.args(arguments).current_dir(folder).stderr(Stdio::null());
    Process::start(&mut command, Stream::Stdout, ready)
}

/// A running `redis-server`.
#[derive(Debug)]
pub struct Redis {
    /// Its port.
    pub port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
    folder: TempDir,
}

impl Redis {
    /// Without persistence and password.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these further arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let port = free_port();
        let folder = memory_folder();
        let usual = format!("--port {port} --bind 127.0.0.1 --save  --appendonly no");
        let arguments = usual.split(' ').chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut redis = Self { port, folder, arguments, process: None };
        redis.start_again();
        redis
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal: `STOP` suspends, `CONT` resumes.
    pub fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap().id(), name);
    }

    /// Starts again on the same port, empty.
    pub fn start_again(&mut self) {
        self.process = Some(start(self.folder.path(), &self.arguments, "Ready to accept connections"));
    }

    /// The response of Redis to a line of `redis-cli`.
    pub fn ask(&self, line: &str) -> String {
        ask(self.port, line)
    }

    /// A connection that receives all commands from now on.
    pub fn monitor(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).unwrap();
        stream
    }
}

/// The response at this port to a line of `redis-cli`.
pub fn ask(port: u16, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).unwrap();
    // A sentinel has no QUIT.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
