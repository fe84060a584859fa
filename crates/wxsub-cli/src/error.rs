//! How a command fails: its errors, its exit status, and the problems of flags and variables.

use std::fmt::{self, Display};
use std::process::ExitCode;
use std::str::FromStr;

use wxsub_api::{SendResult, SendStage, SendStatus};
use wxsub_proto::{ValidationError, ValidationErrorKind};

use crate::console;
use crate::language::{self, localized};

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

    /// Creates a usage error with one message.
    pub(crate) fn usage(line: impl Display) -> Self {
        Self::new(ExitStatus::Usage, line)
    }

    /// Creates a usage error that lists all problems.
    pub(crate) fn usages(lines: Vec<String>) -> Self {
        Self { exit: ExitStatus::Usage, lines }
    }

    /// Creates an unexpected error.
    pub(crate) fn unexpected(line: impl Display) -> Self {
        Self::new(ExitStatus::Unexpected, line)
    }

    /// The same error of a command that has sent nothing, and that can be repeated.
    pub(crate) fn before_sending(self) -> Self {
        Self { exit: self.exit.min(ExitStatus::NotSent), ..self }
    }

    /// The same error, of this line of the input.
    pub(crate) fn in_line(self, number: u64) -> Self {
        let of_line = |text: String| localized!("line {number}: {text}", "第 {number} 行：{text}");
        Self { lines: self.lines.into_iter().map(of_line).collect(), ..self }
    }

    /// Both errors, this one first.
    pub(crate) fn and(mut self, second: Self) -> Self {
        self.lines.extend(second.lines);
        Self { exit: self.exit.max(second.exit), ..self }
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

/// Exit status of a command. The number is the exit code. A batch exits with the largest status of its lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// Success.
    #[default]
    Success = 0,
    /// A bug or an unexpected error.
    Unexpected = 1,
    /// Wrong usage, invalid input, or a rejected callback or webhook.
    Usage = 2,
    /// Weixin responded with an error code, the user cancelled, or the rules for grants and messages do not allow it.
    Refused = 3,
    /// Certainly not sent, also if Weixin refused the token call: safe to try again.
    NotSent = 4,
    /// Maybe sent: do not repeat it blindly.
    MaybeSent = 5,
}

impl From<&SendResult> for ExitStatus {
    fn from(result: &SendResult) -> Self {
        match (result.outcome, result.stage) {
            (SendStatus::Sent, _) => Self::Success,
            (SendStatus::Invalid, _) => Self::Usage,
            // The rules do not allow it, so trying again does not help.
            (SendStatus::Refused, _) | (SendStatus::NotSent, Some(SendStage::Grant)) => Self::Refused,
            (SendStatus::NotSent, _) => Self::NotSent,
            (SendStatus::MaybeSent, _) => Self::MaybeSent,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Problems of flags and variables, in order.
#[derive(Debug, Default)]
pub(crate) struct UsageErrors(Vec<String>);

impl UsageErrors {
    /// Adds a problem of a flag or variable.
    pub(crate) fn add(&mut self, name: &str, problem: impl Display) {
        self.0.push(localized!("{name}: {problem}", "{name}：{problem}"));
    }

    /// Returns the value, or adds its error as a problem.
    pub(crate) fn collect<T>(&mut self, name: &str, result: Result<T, ValidationError>) -> Option<T> {
        result.map_err(|invalid| self.add(name, language::shown(&invalid.rule().localized()))).ok()
    }

    /// Parses a required value.
    pub(crate) fn required<T>(&mut self, name: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err = ValidationError>,
    {
        if text.is_none() {
            self.add(name, language::shown(&ValidationErrorKind::Missing.localized()));
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
            _ => Err(CliError::usages(self.0)),
        }
    }

    /// Returns the value that `read` finds without problems. `None` must come with a problem.
    ///
    /// # Errors
    ///
    /// All problems.
    pub(crate) fn check<T>(read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, CliError> {
        let mut usage = Self::default();
        let value = read(&mut usage);
        usage.finish(value)
    }
}
