//! How an attempt ended.

use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_proto::{ErrCode, Operation, Remedy};

use crate::state::Stage;

/// The end of an attempt, as its owner reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every ledger must decide each of them")]
pub enum Settlement {
    /// Weixin took the message.
    Sent,
    /// Weixin refused the message, and would refuse it again.
    Refused(Detail),
    /// No byte of the message left. The attempt counts as a failure.
    NotSent(Detail),
    /// Weixin took no notice of the message, for a reason that concerns the app. No failure.
    NotAccepted(NotAccepted, Detail),
    /// The message may have arrived.
    Unknown(Detail),
}

/// Why an app must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every ledger must decide each of them")]
pub enum NotAccepted {
    /// Weixin called the token stale, and the one after it too.
    StaleToken,
    /// 45009: the calls of the day are used up.
    DailyQuota,
    /// 45011: too many calls within a minute.
    MinuteQuota,
    /// There was no token to send with.
    NoToken,
}

/// What is known of the end of an attempt. It holds no secret and no URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct Detail {
    /// How far it had come.
    pub stage: Option<Stage>,
    /// Weixin's error code.
    pub errcode: Option<ErrCode>,
    /// Weixin's text, or what failed.
    pub errmsg: Option<String>,
    /// Weixin's id of the request, for its support.
    pub rid: Option<String>,
    /// What to do.
    pub remedy: Option<Remedy>,
}

impl Settlement {
    /// What the result of [`Client::send`](wxsub_core::Client::send) says about the message.
    #[must_use]
    pub fn of_result(result: &Result<(), SendError>) -> Self {
        let Err(error) = result else { return Self::Sent };
        let detail = Detail::of_error(error);
        match (error.operation(), error.delivery()) {
            (_, Delivery::MaybeSent) => Self::Unknown(detail),
            // Weixin's answer to a token call says nothing about the message.
            (Operation::FetchToken, Delivery::NotSent | Delivery::Rejected) => {
                Self::NotAccepted(NotAccepted::NoToken, detail)
            }
            (Operation::Send, Delivery::NotSent) => Self::NotSent(detail),
            (Operation::Send, Delivery::Rejected) => match error.errcode() {
                Some(ErrCode::DAILY_QUOTA) => Self::NotAccepted(NotAccepted::DailyQuota, detail),
                Some(ErrCode::MINUTE_QUOTA) => Self::NotAccepted(NotAccepted::MinuteQuota, detail),
                Some(code) if code.is_stale_token() => Self::NotAccepted(NotAccepted::StaleToken, detail),
                // 0 is no refusal.
                Some(code) if code.is_ok() => Self::Unknown(detail),
                Some(_) => Self::Refused(detail),
                None => Self::Unknown(detail),
            },
        }
    }
}

impl Detail {
    /// Of an attempt that its worker ended before it called Weixin.
    #[must_use]
    pub fn not_posted(why: &str) -> Self {
        Self { stage: Some(Stage::Claim), errmsg: Some(why.to_owned()), ..Self::default() }
    }

    /// Of an attempt about which nothing more is known than this text.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        Self {
            stage: Some(Stage::Send),
            errmsg: Some(why.to_owned()),
            remedy: Some(Remedy::Investigate),
            ..Self::default()
        }
    }

    fn of_error(error: &SendError) -> Self {
        let stage = match error.operation() {
            Operation::FetchToken => Stage::Token,
            Operation::Send => Stage::Send,
        };
        let errmsg =
            error.api_error().map_or_else(|| error.to_string(), |api_error| api_error.errmsg().to_owned());
        Self {
            stage: Some(stage),
            errcode: error.errcode(),
            errmsg: Some(errmsg),
            rid: error.trace_id().map(|rid| rid.as_str().to_owned()),
            remedy: Some(error.remedy()),
        }
    }
}
