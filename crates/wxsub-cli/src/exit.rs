//! Exit status of a command.

use std::process::ExitCode;

use wxsub_server::send_result::SendStatus;

/// Exit status of a command. The number is the exit code. A batch exits with the largest status of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// Success.
    Success = 0,
    /// A bug or an unexpected error.
    Unexpected = 1,
    /// Wrong usage, invalid input, or a rejected callback.
    Usage = 2,
    /// Weixin responded with an error code, or the user cancelled.
    Refused = 3,
    /// Certainly not sent, also if Weixin refused the token call: safe to try again.
    NotSent = 4,
    /// Maybe sent: do not repeat it blindly.
    MaybeSent = 5,
}

impl From<SendStatus> for ExitStatus {
    fn from(status: SendStatus) -> Self {
        match status {
            SendStatus::Sent => Self::Success,
            SendStatus::Invalid => Self::Usage,
            SendStatus::Refused => Self::Refused,
            SendStatus::NotSent => Self::NotSent,
            SendStatus::MaybeSent => Self::MaybeSent,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
