//! The error of a send: its kind, errcode and trace id, what to do, and whether the message was sent.

use std::error::Error;
use std::time::Duration;

use wxsub_proto::codec::DecodeError;
use wxsub_proto::{ApiError, ErrCode, Language, LocalizedText, Operation, Remedy, TraceId, named_enum};

use crate::clock::UnixMillis;
use crate::quota::quota_delay;
use crate::token::TokenError;
use crate::transport::{RequestState, TransportError};

/// A failed send. The message was not sent, maybe sent, or rejected. `Display` and `Debug` show no secret and no
/// URL.
#[derive(Debug, Clone, derive_more::Display, getset::CopyGetters)]
#[display("{cause}")]
pub struct SendError {
    cause: Cause,
    /// How long to wait from the failure until the next send of any message, if it is known:
    ///
    /// - After errcode 45011, too many calls within a minute: one minute.
    /// - After errcode 45009, the daily quota is used up: until midnight in Beijing.
    /// - Without a token: until the token source makes another attempt or allows one.
    ///
    /// [`is_retryable`](Self::is_retryable) says whether this message can be sent again.
    #[getset(get_copy = "pub")]
    retry_after: Option<Duration>,
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{0}; the message was not sent")]
    Token(#[source] TokenError),
    #[error("no access token before the deadline; the message was not sent")]
    TokenTimeout,
    #[error("Weixin refused the message: {0}")]
    Refused(ApiError),
    #[error("{text}: {0}", text = outcome(.0.request_state()))]
    Transport(TransportError),
    #[error("the message may have been sent, do not blindly repeat it: {0}")]
    Unreadable(DecodeError),
    #[error("the message may have been sent, do not blindly repeat it: no response before the deadline")]
    SendTimeout,
    #[error("{text}: the send was stopped", text = outcome(*.1))]
    Stopped(Operation, RequestState),
}

impl Cause {
    /// The cause in every language.
    fn localized(&self) -> LocalizedText<String> {
        let (not_sent, maybe_sent) = ("消息没有发出", "消息可能已发出，确认之前不要重发");
        let outcome = |state| match state {
            RequestState::NotSent => not_sent,
            RequestState::MaybeSent => maybe_sent,
        };
        let in_chinese = |text: LocalizedText<String>| text.in_language(Language::Chinese);
        let chinese = match self {
            Self::Token(error) => format!("{}；{not_sent}", in_chinese(error.localized())),
            Self::TokenTimeout => format!("没有按时得到 access_token；{not_sent}"),
            Self::Refused(api_error) => format!("微信拒绝了该消息：{api_error}"),
            Self::Transport(error) => {
                format!("{}：{}", outcome(error.request_state()), in_chinese(error.localized()))
            }
            Self::Unreadable(error) => format!("{maybe_sent}：{}", in_chinese(error.localized())),
            Self::SendTimeout => format!("{maybe_sent}：没有按时收到响应"),
            Self::Stopped(_, state) => format!("{}：发送已停止", outcome(*state)),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

fn outcome(state: RequestState) -> &'static str {
    match state {
        RequestState::NotSent => "the message was not sent",
        RequestState::MaybeSent => "the message may have been sent, do not blindly repeat it",
    }
}

fn delivery(state: RequestState) -> Delivery {
    match state {
        RequestState::NotSent => Delivery::NotSent,
        RequestState::MaybeSent => Delivery::MaybeSent,
    }
}

named_enum! {
    /// The kind of a [`SendError`].
    #[non_exhaustive]
    pub enum ErrorKind {
        /// There was no access token.
        Token = "token",
        /// Weixin refused the message.
        Refused = "refused",
        /// The HTTP exchange failed.
        Transport = "transport",
        /// The response is not one of Weixin's.
        Unreadable = "unreadable",
        /// The deadline passed.
        Timeout = "timeout",
        /// The caller stopped the send.
        Stopped = "stopped",
    }
}

named_enum! {
    /// Whether the message of a failed send was sent. Every sender must decide all three.
    pub enum Delivery {
        /// Certainly not sent. A retry cannot deliver it twice.
        NotSent = "not_sent",
        /// Unknown. A retry may deliver it twice.
        MaybeSent = "maybe_sent",
        /// Sent, and refused by Weixin.
        Rejected = "rejected",
    }
}

impl SendError {
    /// Creates the error of a send that failed at `now`.
    pub(crate) fn new(cause: Cause, now: UnixMillis) -> Self {
        let retry_after = match &cause {
            Cause::Token(error) => error.retry_after(),
            Cause::Refused(api_error) => quota_delay(api_error.errcode(), now),
            _ => None,
        };
        Self { cause, retry_after }
    }

    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        self.cause.localized()
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match &self.cause {
            Cause::Token(_) => ErrorKind::Token,
            Cause::Refused(_) => ErrorKind::Refused,
            Cause::Transport(_) => ErrorKind::Transport,
            Cause::Unreadable(_) => ErrorKind::Unreadable,
            Cause::TokenTimeout | Cause::SendTimeout => ErrorKind::Timeout,
            Cause::Stopped(..) => ErrorKind::Stopped,
        }
    }

    /// Returns the call that failed.
    pub fn operation(&self) -> Operation {
        match &self.cause {
            Cause::Token(_) | Cause::TokenTimeout => Operation::FetchToken,
            Cause::Stopped(operation, _) => *operation,
            _ => Operation::Send,
        }
    }

    /// Returns whether the message was sent.
    pub fn delivery(&self) -> Delivery {
        match &self.cause {
            Cause::Token(_) | Cause::TokenTimeout => Delivery::NotSent,
            Cause::Refused(_) => Delivery::Rejected,
            Cause::Transport(error) => delivery(error.request_state()),
            Cause::Stopped(_, state) => delivery(*state),
            Cause::Unreadable(_) | Cause::SendTimeout => Delivery::MaybeSent,
        }
    }

    /// Returns whether the message can be sent again without the danger that it arrives twice, at once or after the
    /// [remedy](Self::remedy).
    ///
    /// It is true if the message was certainly not sent. After a rejection it is true if the same message can be accepted later:
    /// Weixin is busy, a quota is used up, the token was stale, or the address of the caller is not allowed yet.
    pub fn is_retryable(&self) -> bool {
        match self.delivery() {
            Delivery::NotSent => true,
            Delivery::MaybeSent => false,
            Delivery::Rejected => {
                let remedies = [Remedy::RetryLater, Remedy::SlowDown, Remedy::RefreshToken, Remedy::AllowIp];
                remedies.contains(&self.remedy())
            }
        }
    }

    /// Returns Weixin's error. [`operation`](Self::operation) says whether Weixin refused the message or the token
    /// call.
    pub fn api_error(&self) -> Option<&ApiError> {
        match &self.cause {
            Cause::Token(error) => error.api_error(),
            Cause::Refused(api_error) => Some(api_error),
            _ => None,
        }
    }

    /// Returns Weixin's errcode, if it sent one.
    pub fn errcode(&self) -> Option<ErrCode> {
        self.api_error().map(ApiError::errcode)
    }

    /// Returns the trace id. Weixin's support asks for it.
    pub fn trace_id(&self) -> Option<&TraceId> {
        self.api_error().and_then(ApiError::trace_id)
    }

    /// Returns what to do about the error.
    pub fn remedy(&self) -> Remedy {
        match &self.cause {
            Cause::Token(error) => error.remedy(),
            Cause::Refused(api_error) => api_error.errcode().remedy(Operation::Send),
            Cause::Transport(error) if error.is_config_error() => Remedy::FixConfig,
            Cause::Transport(error) if error.request_state() == RequestState::NotSent => Remedy::RetryLater,
            Cause::TokenTimeout | Cause::Stopped(_, RequestState::NotSent) => Remedy::RetryLater,
            Cause::Transport(_)
            | Cause::Unreadable(_)
            | Cause::SendTimeout
            | Cause::Stopped(_, RequestState::MaybeSent) => Remedy::Investigate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenErrorKind;
    use crate::transport::TransportErrorKind;

    #[test]
    fn each_cause_has_operation_delivery_and_remedy() {
        let refused = |code| Cause::Refused(ApiError::new(ErrCode::new(code), "x"));
        let token = |why| Cause::Token(TokenError::new(why, None));
        let stopped = |operation, is_posted| match is_posted {
            true => Cause::Stopped(operation, RequestState::MaybeSent),
            false => Cause::Stopped(operation, RequestState::NotSent),
        };
        let before = TransportError::before_sending(TransportErrorKind::Connect, "refused");
        let after = TransportError::maybe_sent(TransportErrorKind::Broken, "reset");
        let certificate = TransportError::before_sending(TransportErrorKind::Certificate, "expired");
        let wrong_secret = TokenErrorKind::Refused(ApiError::new(ErrCode::INVALID_APPSECRET, "x"));
        use {Delivery::*, Remedy::*};
        for (cause, call, delivery, remedy, repeat) in [
            (refused(43101), Operation::Send, Rejected, Stop, false),
            (refused(-1), Operation::Send, Rejected, RetryLater, true),
            (refused(45011), Operation::Send, Rejected, SlowDown, true),
            (refused(40001), Operation::Send, Rejected, RefreshToken, true),
            (refused(47003), Operation::Send, Rejected, FixRequest, false),
            (refused(7), Operation::Send, Rejected, Investigate, false),
            (token(wrong_secret), Operation::FetchToken, NotSent, FixConfig, true),
            (token(TokenErrorKind::TimedOut), Operation::FetchToken, NotSent, RetryLater, true),
            (
                token(TokenErrorKind::Transport(after.clone())),
                Operation::FetchToken,
                NotSent,
                RetryLater,
                true,
            ),
            (Cause::TokenTimeout, Operation::FetchToken, NotSent, RetryLater, true),
            (Cause::Transport(before), Operation::Send, NotSent, RetryLater, true),
            (Cause::Transport(certificate), Operation::Send, NotSent, FixConfig, true),
            (Cause::Transport(after), Operation::Send, MaybeSent, Investigate, false),
            (Cause::Unreadable(DecodeError::HtmlBody), Operation::Send, MaybeSent, Investigate, false),
            (Cause::SendTimeout, Operation::Send, MaybeSent, Investigate, false),
            (stopped(Operation::FetchToken, false), Operation::FetchToken, NotSent, RetryLater, true),
            (stopped(Operation::Send, false), Operation::Send, NotSent, RetryLater, true),
            (stopped(Operation::Send, true), Operation::Send, MaybeSent, Investigate, false),
        ] {
            let error = SendError::new(cause, UnixMillis::default());
            let results = (error.operation(), error.delivery(), error.remedy(), error.is_retryable());
            assert_eq!(results, (call, delivery, remedy, repeat), "{error}");
        }
    }

    #[test]
    fn quota_errors_and_token_errors_say_when_to_retry() {
        // 12:00 in Beijing.
        let noon = UnixMillis::new(1_780_286_400_000);
        let refused = |code| Cause::Refused(ApiError::new(ErrCode::new(code), "x"));
        let token = Cause::Token(TokenError::new(TokenErrorKind::TimedOut, Some(Duration::from_secs(5))));
        for (cause, seconds) in [
            (refused(45011), Some(60)),
            (refused(45009), Some(12 * 3600)),
            (refused(43101), None),
            (token, Some(5)),
            (Cause::SendTimeout, None),
        ] {
            let error = SendError::new(cause, noon);
            assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{error}");
        }
    }
}
