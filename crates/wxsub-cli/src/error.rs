//! Why a command could not do what it was asked to do.

use std::fmt::{self, Display};

use crate::console;
use crate::exit::ExitStatus;

/// What went wrong, one line each, and how the command ends because of it.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: ExitStatus,
    lines: Vec<String>,
}

impl CliError {
    /// One thing went wrong.
    pub(crate) fn new(exit: ExitStatus, line: impl Display) -> Self {
        Self { exit, lines: vec![line.to_string()] }
    }

    /// The user has to change something, and here is everything they have to change.
    pub(crate) fn usage(lines: Vec<String>) -> Self {
        Self { exit: ExitStatus::Usage, lines }
    }

    /// Something that does not happen.
    pub(crate) fn unexpected(line: impl Display) -> Self {
        Self::new(ExitStatus::Unexpected, line)
    }

    /// Says it on standard error.
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
