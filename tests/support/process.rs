//! Running processes and what they print.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::WAIT_TIMEOUT;

/// The output of a process, read continuously: a full pipe would block the process.
#[derive(Debug, Clone)]
pub struct Lines(Arc<(Mutex<Output>, Condvar)>);

#[derive(Debug, Default)]
struct Output {
    lines: Vec<String>,
    /// How many of them [`Lines::next_line`] has returned.
    read: usize,
    has_ended: bool,
}

impl Lines {
    /// Reads lines in a thread until the process closes its output.
    pub fn read(output: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || {
            let (state, changed) = &*shared;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                state.lock().unwrap().lines.push(line);
                changed.notify_all();
            }
            state.lock().unwrap().has_ended = true;
            changed.notify_all();
        });
        lines
    }

    /// Waits for the next line. None at the end of the output.
    pub fn next_line(&self) -> Option<String> {
        let (output, changed) = &*self.0;
        let has_none = |output: &mut Output| output.read == output.lines.len() && !output.has_ended;
        let (mut output, waited) =
            changed.wait_timeout_while(output.lock().unwrap(), WAIT_TIMEOUT, has_none).unwrap();
        assert!(!waited.timed_out(), "no line within {WAIT_TIMEOUT:?}, after {:#?}", output.lines);
        let line = output.lines.get(output.read).cloned()?;
        output.read += 1;
        Some(line)
    }

    /// Waits for the next line with this text.
    pub fn wait_for(&self, text: &str) -> String {
        let line = std::iter::from_fn(|| self.next_line()).find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("{text:?} is missing in {:#?}", self.all()))
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }
}

/// Which output of a process is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The output that is read.
    pub lines: Lines,
    /// The line that [`Process::start`] waited for.
    pub ready: String,
}

impl Process {
    /// Starts it. Its standard input stays open, because some processes end when it closes.
    pub fn spawn(command: &mut Command, stream: Stream) -> Self {
        command.stdin(Stdio::piped());
        match stream {
            Stream::Stdout => command.stdout(Stdio::piped()),
            Stream::Stderr => command.stderr(Stdio::piped()),
        };
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?} cannot be started, scripts/test --all installs what it needs: {error}")
        });
        let lines = match stream {
            Stream::Stdout => Lines::read(child.stdout.take().unwrap()),
            Stream::Stderr => Lines::read(child.stderr.take().unwrap()),
        };
        Self { child, lines, ready: String::new() }
    }

    /// Starts it, and waits for a line with this text. Every line has the empty text.
    pub fn start(command: &mut Command, stream: Stream, ready: &str) -> Self {
        let mut process = Self::spawn(command, stream);
        process.ready = process.lines.wait_for(ready);
        process
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal, unless it has ended by itself, and waits until it has ended.
    pub fn stop(&mut self, name: &str) {
        if !self.has_ended() {
            signal(self.id(), name);
            self.child.wait().unwrap();
        }
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process: `STOP` suspends, `CONT` resumes.
pub fn signal(process: u32, name: &str) {
    succeed(Command::new("kill").args([&format!("-{name}"), &process.to_string()]));
}

/// Runs a command to its end.
///
/// # Panics
/// If it fails.
pub fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
