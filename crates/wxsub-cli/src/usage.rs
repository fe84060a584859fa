//! Collects all invalid flags and variables, so that one run names every problem.

use std::fmt::Display;
use std::str::FromStr;

use wxsub_proto::{ValidationError, ValidationErrorKind};

use crate::error::CliError;

/// Problems of flags and variables, in order.
#[derive(Debug, Default)]
pub(crate) struct UsageErrors(Vec<String>);

impl UsageErrors {
    /// Adds a problem of a flag or variable.
    pub(crate) fn add(&mut self, name: &str, problem: impl Display) {
        self.0.push(format!("{name}: {problem}"));
    }

    /// Returns the value, or adds its error as a problem.
    pub(crate) fn collect<T>(&mut self, name: &str, result: Result<T, ValidationError>) -> Option<T> {
        result.map_err(|invalid| self.add(name, invalid.rule())).ok()
    }

    /// Parses a required value.
    pub(crate) fn required<T>(&mut self, name: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = ValidationError>,
    {
        if text.is_none() {
            self.add(name, ValidationErrorKind::Missing);
        }
        self.optional(name, text)
    }

    /// Parses an optional value.
    pub(crate) fn optional<T>(&mut self, name: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = ValidationError>,
    {
        self.collect(name, text?.parse())
    }

    /// Returns the value if there are no problems. `None` must come with a problem.
    ///
    /// # Errors
    ///
    /// All problems.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, CliError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(CliError::usage(self.0)),
        }
    }
}
