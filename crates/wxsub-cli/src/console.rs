//! Messages to the user on standard error. Write errors are ignored.

use std::fmt::Display;
use std::io::Write;

use crate::stderr::StderrWriter;

/// Prints an error: what failed and what to do.
pub(crate) fn error(text: impl Display) {
    note(format_args!("error: {text}"));
}

/// Prints a warning. The command continues.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("warning: {text}"));
}

/// Prints a line without a prefix.
pub(crate) fn note(text: impl Display) {
    let line = format!("{}\n", sanitize_line(&text.to_string()));
    let _ = StderrWriter.write_all(line.as_bytes());
}

/// Replaces control characters with spaces, so that text from outside cannot add lines or terminal escape codes.
pub(crate) fn sanitize_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
