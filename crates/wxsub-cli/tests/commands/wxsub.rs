//! Runs the binary with an own environment.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A call of the binary.
pub(crate) struct Wxsub {
    command: Command,
    input: Vec<u8>,
}

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A call with these arguments and an empty environment.
pub(crate) fn wxsub(arguments: &[&str]) -> Wxsub {
    program(env!("CARGO_BIN_EXE_wxsub"), arguments)
}

/// The same of another version of the binary.
pub(crate) fn program(path: &str, arguments: &[&str]) -> Wxsub {
    let mut command = Command::new(path);
    command.env_clear().args(arguments);
    Wxsub { command, input: Vec::new() }
}

/// A line for a shell that finds the binary as `wxsub`, in an empty environment.
pub(crate) fn shell(script: &str) -> Wxsub {
    let mut command = Command::new("/bin/sh");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_wxsub")).parent().unwrap();
    command.env_clear().env("PATH", folder).args(["-c", script]);
    Wxsub { command, input: Vec::new() }
}

impl Wxsub {
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// The same through a shell, which gets the program and its arguments as `$0` and `$@`.
    pub(crate) fn under_shell(mut self, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .args(["-c", script])
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            value.map(|value| command.env(name, value));
        }
        self.command = command;
        self
    }

    /// Runs it to the end.
    pub(crate) fn run(mut self) -> Ended {
        let input = std::mem::take(&mut self.input);
        let mut child = self.start();
        // The process may end without reading everything.
        let _ = child.stdin.take().unwrap().write_all(&input);
        ended(child)
    }

    /// Runs it to the end, with this standard output.
    pub(crate) fn run_into(mut self, out: impl Into<Stdio>) -> Ended {
        self.command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        ended(self.command.spawn().unwrap())
    }

    /// Starts it with pipes for input and output.
    pub(crate) fn start(&mut self) -> Child {
        let Self { command, .. } = self;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// The result of a call.
pub(crate) fn ended(child: Child) -> Ended {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

impl Ended {
    /// The output, parsed as one JSON value a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The number and the outcome of each line of a batch, in the order of the output.
    pub(crate) fn outcomes(&self) -> Vec<(u64, String)> {
        let text = |outcome: &Value| outcome.as_str().unwrap().to_owned();
        let outputs = self.json();
        outputs.iter().map(|output| (output["line"].as_u64().unwrap(), text(&output["outcome"]))).collect()
    }

    /// The lines with this outcome.
    pub(crate) fn lines(&self, outcome: &str) -> Vec<u64> {
        self.outcomes().into_iter().filter(|(_, found)| found == outcome).map(|(line, _)| line).collect()
    }

    /// Asserts a usage error with these texts, and no output.
    pub(crate) fn assert_wrong(&self, texts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{self:?}");
        assert_has(&self.err, texts);
    }

    /// Asserts this exit code, and that standard error has this text.
    pub(crate) fn said(&self, code: i32, text: &str) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        self.says(text)
    }

    /// Asserts that standard error has this text.
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert_has(&self.err, &[text]);
        self
    }

    /// Asserts this exit code, and that standard output has this text.
    pub(crate) fn printed(&self, code: i32, text: &str) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        assert_has(&self.out, &[text]);
        self
    }
}

/// Asserts that the text has each of these.
pub(crate) fn assert_has(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

/// An empty folder, which is deleted when this is dropped.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Writes a file with this content for one test.
pub(crate) fn file(name: &str, content: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, content).unwrap();
    path
}

/// Adds this to the end of a file.
pub(crate) fn append(path: &str, more: &str) {
    std::fs::write(path, std::fs::read_to_string(path).unwrap() + more).unwrap();
}

/// Replaces a text that the file has.
pub(crate) fn replace(path: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}
