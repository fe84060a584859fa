//! Problems and warnings of a configuration.

use std::cell::RefCell;
use std::fmt::{self, Display};

/// A problem or warning about one key of a configuration: what is wrong and what to do. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    path: String,
    text: String,
}

impl Diagnostic {
    /// The path of the key, such as `apps[0].secret_file`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// An invalid configuration, with all its problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.0))]
pub struct ConfigError(Vec<Diagnostic>);

impl ConfigError {
    /// All problems, in the order in which they were found; never empty.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

fn join(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects problems and warnings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    problems: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// Adds a problem: the configuration is invalid.
    pub(super) fn problem(&self, path: &str, text: impl Display) {
        self.problems.borrow_mut().push(diagnostic(path, text));
    }

    /// Adds a warning: the configuration is valid, but may not be what the operator wants.
    pub(super) fn warning(&self, path: &str, text: impl Display) {
        self.warnings.borrow_mut().push(diagnostic(path, text));
    }

    /// Returns the configuration and the warnings, or all problems. `None` stands for a configuration with a problem.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<(T, Vec<Diagnostic>), ConfigError> {
        let problems = self.problems.into_inner();
        match config {
            Some(config) if problems.is_empty() => Ok((config, self.warnings.into_inner())),
            _ => Err(ConfigError(problems)),
        }
    }
}

fn diagnostic(path: &str, text: impl Display) -> Diagnostic {
    Diagnostic { path: path.to_owned(), text: text.to_string() }
}
