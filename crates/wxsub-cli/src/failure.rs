//! Why a command could not do what it was asked to do.

use std::fmt::{self, Display};

use crate::exit::Exit;
use crate::talk;

/// What went wrong, one line each, and how the command ends because of it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    lines: Vec<String>,
}

impl Failure {
    /// One thing went wrong.
    pub(crate) fn new(exit: Exit, line: impl Display) -> Self {
        Self { exit, lines: vec![line.to_string()] }
    }

    /// The user has to change something, and here is everything they have to change.
    pub(crate) fn wrong(lines: Vec<String>) -> Self {
        Self { exit: Exit::Wrong, lines }
    }

    /// Something that does not happen.
    pub(crate) fn unexpected(line: impl Display) -> Self {
        Self::new(Exit::Unexpected, line)
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> Exit {
        self.lines.iter().for_each(talk::error);
        self.exit
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))
    }
}
