//! What is to be said about a configuration.

use std::cell::RefCell;
use std::fmt::{self, Display};

/// Something about one place of a configuration: what is wrong and what to do. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    place: String,
    text: String,
}

impl Diagnostic {
    /// Where: `apps[0].secret_file` for example.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.place
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A configuration that cannot be used: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct ConfigError(Vec<Diagnostic>);

impl ConfigError {
    /// All of it, in the order of the file; never empty.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

fn listed(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    problems: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// It cannot be used like this.
    pub(super) fn problem(&self, place: &str, text: impl Display) {
        self.problems.borrow_mut().push(finding(place, text));
    }

    /// It can be used, but people should know.
    pub(super) fn warning(&self, place: &str, text: impl Display) {
        self.warnings.borrow_mut().push(finding(place, text));
    }

    /// What was read and the warnings, unless something is wrong. Whatever could not be read has left a problem behind.
    pub(super) fn end<T>(self, read: Option<T>) -> Result<(T, Vec<Diagnostic>), ConfigError> {
        let problems = self.problems.into_inner();
        match read {
            Some(read) if problems.is_empty() => Ok((read, self.warnings.into_inner())),
            _ => Err(ConfigError(problems)),
        }
    }
}

fn finding(place: &str, text: impl Display) -> Diagnostic {
    Diagnostic { place: place.to_owned(), text: text.to_string() }
}
