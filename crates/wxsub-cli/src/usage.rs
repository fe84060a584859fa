//! Everything that is wrong with the flags and variables of one call, so that people need not find it out one by one.

use std::fmt::Display;
use std::str::FromStr;

use wxsub_proto::{ValidationError, ValidationErrorKind};

use crate::error::CliError;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct UsageErrors(Vec<String>);

impl UsageErrors {
    /// Something is wrong in this place: a flag or a variable.
    pub(crate) fn add(&mut self, place: &str, what: impl Display) {
        self.0.push(format!("{place}: {what}"));
    }

    /// Takes the value, or the problem.
    pub(crate) fn collect<T>(&mut self, place: &str, read: Result<T, ValidationError>) -> Option<T> {
        read.map_err(|invalid| self.add(place, invalid.rule())).ok()
    }

    /// Reads a value that must be there.
    pub(crate) fn required<T>(&mut self, place: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = ValidationError>,
    {
        if text.is_none() {
            self.add(place, ValidationErrorKind::Missing);
        }
        self.optional(place, text)
    }

    /// Reads a value that may be there.
    pub(crate) fn optional<T>(&mut self, place: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = ValidationError>,
    {
        self.collect(place, text?.parse())
    }

    /// What was read, if nothing is wrong. Whatever could not be read has left a problem behind.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, CliError> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(CliError::usage(self.0)),
        }
    }
}
