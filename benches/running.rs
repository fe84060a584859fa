//! A running process.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

/// This program, in another role.
pub fn again(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words);
    command
}

/// A running process. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Kept open, because some processes end when it closes.
    _stdin: Option<ChildStdin>,
    /// The first line that it printed.
    pub said: String,
}

impl Running {
    /// Starts it and reads its first line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(!said.is_empty(), "{command:?} did not start");
        Self { _stdin: child.stdin.take(), child, said: said.trim_end().to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> String {
        self.child.id().to_string()
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        // It may not exist any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
