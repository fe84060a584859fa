//! Failed calls of the control server: what they mean for the caller.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use wxsub_api::{Problem, ProblemExtensions, ProblemKind, SendResult, SendStatus};
use wxsub_core::error::Delivery;
use wxsub_core::token::TokenErrorKind;
use wxsub_core::transport::{RequestState, TransportError};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{ApiError, Language, LocalizedText, Remedy};

/// Maximum length of the server's error text, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// A failed call of the control server. It contains no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ControlServerError {
    /// The request was certainly not sent.
    #[error("the control server was not reached: {0}")]
    NotReached(TransportError),
    /// The request may have been sent, and no response arrived.
    #[error("the control server's response was lost: {0}")]
    ResponseLost(TransportError),
    /// No response arrived in time.
    #[error("the control server did not respond in time")]
    Timeout,
    /// The response is not one of a control server.
    #[error("the control server's response is invalid; check that the URL is the one of a control server")]
    InvalidResponse {
        /// The status of the response.
        status: u16,
    },
    /// The server responded with an error.
    #[error("the control server responded with {status}{}", detail(problem.as_deref()))]
    Problem {
        /// The status of the response.
        status: u16,
        /// The problem. `None` if the body has none.
        problem: Option<Box<Problem>>,
        /// The delay that the server asked for.
        retry_after: Option<Duration>,
    },
}

impl ControlServerError {
    /// Returns the error in every language. The server's own text stays English.
    pub fn localized(&self) -> LocalizedText<String> {
        let in_chinese = |error: &TransportError| error.localized().in_language(Language::Chinese);
        let chinese = match self {
            Self::NotReached(error) => format!("无法连接中控服务器：{}", in_chinese(error)),
            Self::ResponseLost(error) => format!("中控服务器的响应丢失：{}", in_chinese(error)),
            Self::Timeout => "中控服务器没有按时响应".to_owned(),
            Self::InvalidResponse { .. } => "中控服务器的响应无效；请检查该地址是否为中控服务器".to_owned(),
            Self::Problem { status, problem, .. } => {
                let kind = problem.as_ref().map(|problem| problem.kind.localized());
                let kind = kind.map(|kind| format!("：{}", kind.in_language(Language::Chinese)));
                let detail = detail(problem.as_deref());
                format!("中控服务器返回状态码 {status}{}{detail}", kind.unwrap_or_default())
            }
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// Returns the server's error text on one line.
fn detail(problem: Option<&Problem>) -> String {
    let detail = problem.map_or("", |problem| &problem.detail);
    let text = sanitize_line(detail.chars().take(MAX_DETAIL_CHARS));
    if text.is_empty() { text } else { format!(": {text}") }
}

impl ControlServerError {
    pub(crate) fn from_transport(error: TransportError) -> Self {
        match error.request_state() {
            RequestState::NotSent => Self::NotReached(error),
            RequestState::MaybeSent => Self::ResponseLost(error),
        }
    }

    pub(crate) fn problem(response: &RawResponse<Bytes>) -> Self {
        Self::Problem {
            status: response.status,
            problem: serde_json::from_slice(&response.body).ok().map(Box::new),
            retry_after: response.retry_after,
        }
    }

    /// Returns whether the call may have taken effect although it failed: no response of the server arrived, a gateway
    /// responded with a status of 500 or more, or the server itself does not know.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::NotReached(_) => false,
            Self::ResponseLost(_) | Self::Timeout | Self::InvalidResponse { .. } => true,
            Self::Problem { status, problem, .. } => match problem.as_deref() {
                None | Some(Problem { kind: ProblemKind::Unknown, .. }) => *status >= 500,
                Some(Problem { kind: ProblemKind::MaybeSent, .. }) => true,
                Some(problem) => matches!(*problem.extensions, ProblemExtensions::Unrecorded { .. }),
            },
        }
    }

    /// Returns the kind of the problem, if the server responded with one.
    pub fn kind(&self) -> Option<ProblemKind> {
        match self {
            Self::Problem { problem, .. } => problem.as_ref().map(|problem| problem.kind),
            _ => None,
        }
    }

    /// Returns the delay that the server asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns Weixin's error, if Weixin refused the call of the server.
    pub fn api_error(&self) -> Option<ApiError> {
        let Self::Problem { problem: Some(problem), .. } = self else { return None };
        match &*problem.extensions {
            ProblemExtensions::Refusal { errcode, errmsg, .. } => {
                Some(ApiError::new((*errcode)?, errmsg.as_deref().unwrap_or_default()))
            }
            ProblemExtensions::Result(result) => result.api_error().map(|(api_error, _)| api_error),
            _ => None,
        }
    }

    /// Returns what to do about the error. If the server does not say it, the kind of the problem decides, or else the status.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::NotReached(error) if error.is_config_error() => Remedy::FixConfig,
            Self::NotReached(_) | Self::ResponseLost(_) | Self::Timeout => Remedy::RetryLater,
            Self::InvalidResponse { .. } => Remedy::FixConfig,
            Self::Problem { status, problem, .. } => {
                let by_kind = || match (self.kind().unwrap_or_default(), status) {
                    (ProblemKind::Unknown, 401 | 403 | 404) => Remedy::FixConfig,
                    (ProblemKind::Unknown, 429) => Remedy::SlowDown,
                    (ProblemKind::Unknown, _) => Remedy::RetryLater,
                    (kind, _) => kind.remedy(),
                };
                problem.as_ref().and_then(|problem| problem.remedy()).unwrap_or_else(by_kind)
            }
        }
    }

    /// Returns why a fetch of the token cache failed.
    pub(crate) fn into_token_error(self) -> TokenErrorKind {
        match self {
            Self::NotReached(error) | Self::ResponseLost(error) => TokenErrorKind::Transport(error),
            Self::Timeout => TokenErrorKind::TimedOut,
            Self::InvalidResponse { .. } | Self::Problem { .. } => {
                TokenErrorKind::Upstream { text: self.localized(), remedy: self.remedy() }
            }
        }
    }
}

/// A failed send through the control server. The message was not sent, maybe sent, or rejected.
#[derive(Debug, Clone)]
pub struct ControlServerSendError {
    result: Box<SendResult>,
    error: ControlServerError,
}

impl ControlServerSendError {
    pub(crate) fn new(result: SendResult, error: ControlServerError) -> Self {
        Self { result: Box::new(result), error }
    }

    /// Returns the result object: the outcome, Weixin's error and the invalid fields.
    pub fn result(&self) -> &SendResult {
        &self.result
    }

    /// Returns what happened to the call.
    pub fn error(&self) -> &ControlServerError {
        &self.error
    }

    /// Returns whether the message was sent.
    pub fn delivery(&self) -> Delivery {
        match self.result.outcome {
            SendStatus::NotSent | SendStatus::Invalid => Delivery::NotSent,
            SendStatus::Refused => Delivery::Rejected,
            SendStatus::Sent | SendStatus::MaybeSent => Delivery::MaybeSent,
        }
    }

    /// Returns Weixin's error. The [result](Self::result) says whether Weixin refused the message or the token call.
    pub fn api_error(&self) -> Option<ApiError> {
        self.result.api_error().map(|(api_error, _)| api_error)
    }

    /// Returns what to do about the error.
    pub fn remedy(&self) -> Remedy {
        match (self.result.remedy, self.result.outcome) {
            (Some(remedy), _) => remedy,
            (None, SendStatus::Invalid) => Remedy::FixRequest,
            (None, SendStatus::NotSent) => self.error.remedy(),
            (None, _) => Remedy::Investigate,
        }
    }

    /// Returns the delay that the server asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.error.retry_after()
    }
}

impl fmt::Display for ControlServerSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delivery() {
            Delivery::NotSent => f.write_str("the message was not sent: ")?,
            Delivery::MaybeSent => {
                f.write_str("the message may have been sent, do not blindly repeat it: ")?;
            }
            Delivery::Rejected => f.write_str("Weixin refused the message: ")?,
        }
        match self.api_error() {
            Some(api_error) => api_error.fmt(f),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for ControlServerSendError {}
