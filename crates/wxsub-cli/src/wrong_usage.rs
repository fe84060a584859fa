//! Everything that is wrong with the flags and variables of one call, so that people need not find it out one by one.

use std::fmt::Display;
use std::str::FromStr;

use wxsub_proto::{Invalid, Rule};

use crate::failure::Failure;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct WrongUsage(Vec<String>);

impl WrongUsage {
    /// Something is wrong in this place: a flag or a variable.
    pub(crate) fn add(&mut self, place: &str, what: impl Display) {
        self.0.push(format!("{place}: {what}"));
    }

    /// Takes the value, or the problem.
    pub(crate) fn keep<T>(&mut self, place: &str, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|invalid| self.add(place, invalid.rule())).ok()
    }

    /// Reads a value that must be there.
    pub(crate) fn required<T>(&mut self, place: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = Invalid>,
    {
        if text.is_none() {
            self.add(place, Rule::Missing);
        }
        self.optional(place, text)
    }

    /// Reads a value that may be there.
    pub(crate) fn optional<T>(&mut self, place: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = Invalid>,
    {
        self.keep(place, text?.parse())
    }

    /// What was read, if nothing is wrong. Whatever could not be read has left a problem behind.
    pub(crate) fn end<T>(self, read: Option<T>) -> Result<T, Failure> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(Failure::wrong(self.0)),
        }
    }
}
