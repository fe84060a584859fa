//! How a command ends.

use std::process::ExitCode;

use wxsub_server::send_result::SendStatus;

/// How a command ended. The number is what the shell sees; a file ends with the largest of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// Done.
    Success = 0,
    /// A bug, or something nobody expected.
    Unexpected = 1,
    /// Wrong usage or invalid input; an answer that must not be trusted, too.
    Usage = 2,
    /// Weixin answered with an error code; or the user cancelled.
    Refused = 3,
    /// Certainly not sent, also if Weixin refused the token call before a message: safe to try again.
    NotSent = 4,
    /// Maybe sent: not to be repeated blindly.
    MaybeSent = 5,
}

impl From<SendStatus> for ExitStatus {
    fn from(outcome: SendStatus) -> Self {
        match outcome {
            SendStatus::Sent => Self::Success,
            SendStatus::Invalid => Self::Usage,
            SendStatus::Refused => Self::Refused,
            SendStatus::NotSent => Self::NotSent,
            SendStatus::MaybeSent => Self::MaybeSent,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit as u8)
    }
}
