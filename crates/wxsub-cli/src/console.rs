//! Everything that is said to people, on standard error. A reader that has gone away is no error.

use std::fmt::Display;
use std::io::Write;

use crate::stderr::StderrWriter;

/// What is wrong, and what to do.
pub(crate) fn error(text: impl Display) {
    note(format_args!("error: {text}"));
}

/// What the user should know though it goes on.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("warning: {text}"));
}

/// A line as it is.
pub(crate) fn note(text: impl Display) {
    let line = format!("{}\n", sanitize_line(&text.to_string()));
    let _ = StderrWriter.write_all(line.as_bytes());
}

/// Foreign text must neither start lines of its own nor reach the terminal's escape codes.
pub(crate) fn sanitize_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
