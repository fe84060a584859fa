//! Error of a command.

use std::fmt::{self, Display};

use crate::console;
use crate::exit::ExitStatus;

/// Error of a command: messages of one line each, and the exit status.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: ExitStatus,
    lines: Vec<String>,
}

impl CliError {
    /// Creates an error with one message.
    pub(crate) fn new(exit: ExitStatus, line: impl Display) -> Self {
        Self { exit, lines: vec![line.to_string()] }
    }

    /// Creates a usage error that lists all problems.
    pub(crate) fn usage(lines: Vec<String>) -> Self {
        Self { exit: ExitStatus::Usage, lines }
    }

    /// Creates an unexpected error.
    pub(crate) fn unexpected(line: impl Display) -> Self {
        Self::new(ExitStatus::Unexpected, line)
    }

    /// Prints the messages on standard error and returns the exit status.
    pub(crate) fn report(&self) -> ExitStatus {
        self.lines.iter().for_each(console::error);
        self.exit
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))
    }
}
