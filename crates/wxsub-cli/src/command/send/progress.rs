//! The progress bar.

use std::fmt::Display;
use std::io::{IsTerminal, stderr, stdout};

use indicatif::{ProgressBar, ProgressStyle};

use super::summary::SendSummary;
use crate::console;

/// Progress bar on standard error. It is hidden without a terminal, and if the results go to the terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Creates a bar for a file of this many bytes, or a spinner if the length is unknown.
    pub(super) fn new(length: Option<u64>) -> Self {
        if !stderr().is_terminal() || stdout().is_terminal() {
            return Self(None);
        }
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match length {
            Some(_) => "{wide_bar} {percent}% {msg}",
            None => "{spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows that this many bytes are done.
    pub(super) fn show(&self, read: u64, summary: &SendSummary) {
        if let Some(bar) = &self.0 {
            bar.set_position(read);
            bar.set_message(summary.to_string());
        }
    }

    /// Prints a line above the bar.
    pub(super) fn note(&self, text: impl Display) {
        match &self.0 {
            Some(bar) => bar.suspend(|| console::note(text)),
            None => console::note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
