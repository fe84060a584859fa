//! Data on standard output.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write, stdout};

use serde::Serialize;
use wxsub_proto::redact::sanitize_line;

use crate::error::{CliError, ExitStatus};
use crate::language::localized;

/// Prints the value as one JSON object, or as the text that `text` writes. Returns the exit status.
pub(crate) fn print(is_json: bool, value: &impl Serialize, text: impl FnOnce(&mut Output)) -> ExitStatus {
    let mut output = Output::new();
    match is_json {
        true => output.json(value),
        false => text(&mut output),
    }
    output.end(ExitStatus::Success)
}

/// A list on standard output: one line each below a header, or one JSON object. Each part is written as it comes, so a long list
/// needs no memory.
pub(crate) struct ListOutput {
    output: Output,
    is_json: bool,
    /// The header, until the first part is written.
    header: Option<String>,
    count: usize,
}

impl ListOutput {
    /// A list with this header, or as the member `name` of a JSON object.
    pub(crate) fn new(is_json: bool, name: &str, header: String) -> Self {
        let header = if is_json { format!("{{\"{name}\":[") } else { header + "\n" };
        Self { output: Output::new(), is_json, header: Some(header), count: 0 }
    }

    /// Writes the next part.
    pub(crate) fn write<T: Serialize>(&mut self, part: &[T], row: impl Fn(&T) -> String) {
        self.header.take().into_iter().for_each(|header| self.output.text(&header));
        for item in part {
            match self.is_json {
                true => {
                    self.output.text(if self.count > 0 { "," } else { "" });
                    self.output.json_value(item);
                }
                false => self.output.line(row(item)),
            }
            self.count += 1;
        }
    }

    /// How many items were written.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether a write failed, so that all later ones are dropped.
    pub(crate) fn is_broken(&self) -> bool {
        self.output.broken.is_some()
    }

    /// Ends the list. `next` is the id after which the next page begins.
    pub(crate) fn end(mut self, next: Option<impl Display>) -> ExitStatus {
        if self.is_json {
            self.header.take().into_iter().for_each(|header| self.output.text(&header));
            let next = next.map(|next| format!(",\"next\":\"{next}\"")).unwrap_or_default();
            self.output.text(&format!("]{next}}}\n"));
        }
        self.output.end(ExitStatus::Success)
    }
}

/// Standard output.
///
/// A closed pipe, as with `head`, is no error: later writes are dropped, and the exit code does not change.
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    broken: Option<io::Error>,
}

impl Output {
    /// Opens standard output.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(stdout()), broken: None }
    }

    /// Writes one line. What is unsafe for a terminal becomes a space.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.text(&(sanitize_line(text.to_string().chars()) + "\n"));
    }

    /// Writes text as it is, without a newline.
    pub(crate) fn text(&mut self, text: &str) {
        self.attempt(|out| out.write_all(text.as_bytes()));
    }

    /// Writes one JSON value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) {
        self.json_value(value);
        self.text("\n");
    }

    fn json_value(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.text(&text),
            Err(error) => self.broken = Some(error.into()),
        }
    }

    /// Flushes the buffer.
    pub(crate) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    /// Flushes and returns this exit status, or a worse one if a write failed. A closed pipe does not count.
    pub(crate) fn end(mut self, exit: ExitStatus) -> ExitStatus {
        self.flush();
        match &self.broken {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                let failed = CliError::unexpected(localized!(
                    "standard output cannot be written: {error}",
                    "无法写入标准输出：{error}"
                ));
                exit.max(failed.report())
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
    /// Flushes. An error is ignored.
    fn drop(&mut self) {
        self.flush();
    }
}
