//! How a command ends.

use std::process::ExitCode;

use wxsub_server::result_line::Outcome;

/// How a command ended. The number is what the shell sees; a file ends with the largest of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A bug, or something nobody expected.
    Unexpected = 1,
    /// Wrong usage or invalid input; an answer that must not be trusted, too.
    Wrong = 2,
    /// Weixin answered with an error code; or the user cancelled.
    Refused = 3,
    /// Certainly not sent, also if Weixin refused the token call before a message: safe to try again.
    NotSent = 4,
    /// Maybe sent: not to be repeated blindly.
    MaybeSent = 5,
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sent => Self::Done,
            Outcome::Invalid => Self::Wrong,
            Outcome::Refused => Self::Refused,
            Outcome::NotSent => Self::NotSent,
            Outcome::MaybeSent => Self::MaybeSent,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
