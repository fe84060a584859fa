//! The data, on standard output.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write, stdout};

use serde::Serialize;

use crate::error::CliError;
use crate::exit::ExitStatus;

/// Standard output. A reader that has gone away, like `head`, is no error: nothing more is written, and the command ends
/// with the code it would have ended with.
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    broken: Option<io::Error>,
}

impl Output {
    /// Standard output, opened.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(stdout()), broken: None }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.attempt(|out| writeln!(out, "{text}"));
    }

    /// Writes a text that ends its lines itself.
    pub(crate) fn text(&mut self, text: &str) {
        self.attempt(|out| out.write_all(text.as_bytes()));
    }

    /// Writes one JSON value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => self.broken = Some(error.into()),
        }
    }

    /// Lets the reader see what was written so far.
    pub(crate) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    /// Flushes and ends like this; not as well if something was not written that somebody wanted to read.
    pub(crate) fn end(mut self, exit: ExitStatus) -> ExitStatus {
        self.flush();
        match &self.broken {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                let lost = CliError::unexpected(format_args!("standard output cannot be written: {error}"));
                exit.max(lost.report())
            }
            _ => exit,
        }
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) {
        if self.broken.is_none() {
            self.broken = write(&mut self.out).err();
        }
    }
}

impl Drop for Output {
    /// What cannot be written is not tried again.
    fn drop(&mut self) {
        self.flush();
    }
}
