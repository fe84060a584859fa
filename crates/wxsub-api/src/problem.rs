//! Errors: `application/problem+json` (RFC 9457).
//!
//! Each says what is wrong and what to do.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wxsub_proto::{ErrCode, LocalizedText, Message, Remedy, TraceId, named_enum};

use crate::send_result::{SendResult, SendStatus, read_trace_id};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

named_enum! {
    /// The kind of a problem, for programs.
    #[derive(Default)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[non_exhaustive]
    pub enum ProblemKind {
        /// The request has no key, or a key that the server does not know.
        Unauthorized = "unauthorized",
        /// The key lacks the scope, or may not use this app.
        Forbidden = "forbidden",
        /// There is no such route or app.
        NotFound = "not_found",
        /// The route takes another method.
        MethodNotAllowed = "method_not_allowed",
        /// The body is not JSON.
        NotJson = "not_json",
        /// The body was not received completely in time.
        Incomplete = "incomplete",
        /// The body exceeds the limit of the server.
        TooLarge = "too_large",
        /// A field of the body is invalid.
        Invalid = "invalid",
        /// Too many reports, or too many requests of the client at once.
        RateLimited = "rate_limited",
        /// The server is at its limit of concurrent requests.
        Overloaded = "overloaded",
        /// The server requires an audit and cannot record the request.
        AuditUnavailable = "audit_unavailable",
        /// The app has no usable token.
        NoToken = "no_token",
        /// The server has no ledger, so it records no grants and messages and takes no idempotency key.
        NoLedger = "no_ledger",
        /// The server has no key to sign a consent with.
        NoConsentKey = "no_consent_key",
        /// The ledger cannot be written now. Nothing was posted.
        LedgerUnavailable = "ledger_unavailable",
        /// The app, or the route, requires an idempotency key.
        KeyRequired = "key_required",
        /// The idempotency key was used for another request.
        KeyReused = "key_reused",
        /// The message of the idempotency key is not final yet.
        InFlight = "in_flight",
        /// The message of the idempotency key was cancelled.
        Cancelled = "cancelled",
        /// Another message has the grant, or may have used it up.
        GrantUnavailable = "grant_unavailable",
        /// The app requires a grant, and there is no open one.
        NoGrant = "no_grant",
        /// The app is paused.
        Paused = "paused",
        /// The callback is genuine, and its request has expired.
        ConsentExpired = "consent_expired",
        /// The callback belongs to no request of this session.
        ConsentForged = "consent_forged",
        /// A worker may be posting the message.
        Attempting = "attempting",
        /// The message is final.
        Final = "final",
        /// The message has a decision.
        Decided = "decided",
        /// The message is not `maybe_sent`.
        NotUndecided = "not_undecided",
        /// A worker may still post the message.
        TooEarly = "too_early",
        /// The request has no `If-Match`.
        PreconditionRequired = "precondition_required",
        /// The message has changed since the version in `If-Match`.
        PreconditionFailed = "precondition_failed",
        /// Weixin refused the message.
        Refused = "refused",
        /// The message was not sent.
        NotSent = "not_sent",
        /// The message may have been sent.
        MaybeSent = "maybe_sent",
        /// A kind that this version does not know. It is only read, never written.
        #[default]
        #[serde(other, skip_serializing)]
        Unknown = "unknown",
    }
}

/// The problem details of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Problem {
    /// The kind, for programs.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub kind: ProblemKind,
    /// The kind, for people.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub title: Cow<'static, str>,
    /// The status of the response.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub status: u16,
    /// What is wrong, and what to do.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub detail: String,
    /// Further members.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = ProblemExtensions))]
    pub extensions: Box<ProblemExtensions>,
}

/// Further members of the problem details.
// A response is read as the first variant whose members it has.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[non_exhaustive]
pub enum ProblemExtensions {
    /// The result of a message.
    Result(SendResult),
    /// Why there is no token.
    Refusal {
        /// Weixin's error code, if Weixin refused the token call.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
        errcode: Option<ErrCode>,
        /// Weixin's error text.
        errmsg: Option<String>,
        /// Weixin's id of the refused call.
        #[serde(default, deserialize_with = "read_trace_id")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        rid: Option<TraceId>,
        /// What to do.
        #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RemedyName))]
        remedy: Remedy,
    },
    /// It is unknown whether the request was recorded. The same request again, with the same idempotency key, tells.
    Unrecorded {
        /// `unknown`.
        recorded: Cow<'static, str>,
    },
    /// None.
    Empty {},
}

impl ProblemKind {
    /// Status of the response, the kind in English and Chinese words, and the remedy that follows from the kind alone.
    fn facts(self) -> (u16, &'static str, &'static str, Remedy) {
        match self {
            Self::Unauthorized => (401, "No known key", "没有密钥，或密钥无效", Remedy::FixConfig),
            Self::Forbidden => (403, "Not allowed", "没有权限", Remedy::FixConfig),
            Self::NotFound => (404, "Not found", "没有该应用或该接口", Remedy::FixConfig),
            Self::MethodNotAllowed => (405, "Wrong method", "请求方法不对", Remedy::FixRequest),
            Self::NotJson => (400, "Not JSON", "请求体不是 JSON", Remedy::FixRequest),
            Self::Incomplete => (400, "Incomplete request", "请求不完整", Remedy::FixRequest),
            Self::TooLarge => (413, "Too large", "请求体过大", Remedy::FixRequest),
            Self::Invalid => (422, "Invalid", "参数有误", Remedy::FixRequest),
            Self::RateLimited => (429, "Too many requests", "请求过于频繁", Remedy::SlowDown),
            Self::Overloaded => (503, "Server overloaded", "服务器过载", Remedy::SlowDown),
            Self::AuditUnavailable => (503, "Audit unavailable", "无法记录审计日志", Remedy::RetryLater),
            Self::NoToken => (503, "No usable token", "没有可用的 access_token", Remedy::RetryLater),
            Self::NoLedger => (404, "No ledger", "没有配置消息库", Remedy::FixConfig),
            Self::NoConsentKey => (404, "No consent key", "没有配置授权签名密钥", Remedy::FixConfig),
            Self::LedgerUnavailable => (503, "Ledger unavailable", "消息库暂时不可用", Remedy::RetryLater),
            Self::KeyRequired => (400, "Idempotency key required", "缺少幂等键", Remedy::FixRequest),
            Self::KeyReused => (422, "Idempotency key reused", "幂等键已用于其他请求", Remedy::FixRequest),
            Self::InFlight => (409, "Message in flight", "消息正在处理", Remedy::RetryLater),
            Self::Cancelled => (409, "Cancelled", "消息已取消", Remedy::Stop),
            Self::GrantUnavailable => (409, "Grant unavailable", "授权不可用", Remedy::Stop),
            Self::NoGrant => (409, "No grant", "没有可用的授权", Remedy::Stop),
            Self::Paused => (503, "App paused", "应用已暂停发送", Remedy::RetryLater),
            Self::ConsentExpired => (422, "Consent expired", "授权请求已过期", Remedy::Stop),
            Self::ConsentForged => (422, "Consent forged", "授权回调不可信", Remedy::Stop),
            Self::Attempting => (409, "Message being sent", "消息正在发送", Remedy::RetryLater),
            Self::Final => (409, "Message is final", "消息已有最终状态", Remedy::Stop),
            Self::Decided => (409, "Already decided", "消息已经裁定", Remedy::Stop),
            Self::NotUndecided => (409, "Not undecided", "消息不需要裁定", Remedy::Stop),
            Self::TooEarly => (409, "Too early to decide", "还不能裁定", Remedy::RetryLater),
            Self::PreconditionRequired => (428, "If-Match required", "缺少 If-Match", Remedy::FixRequest),
            Self::PreconditionFailed => (412, "Message has changed", "消息已有变化", Remedy::FixRequest),
            Self::Refused => (422, "Refused by Weixin", "被微信拒绝", Remedy::Investigate),
            Self::NotSent => (503, "Not sent", "消息没有发出", Remedy::RetryLater),
            Self::MaybeSent => (504, "Maybe sent", "消息可能已发出", Remedy::Investigate),
            Self::Unknown => (500, "Unknown problem", "未知问题", Remedy::Investigate),
        }
    }

    /// Returns the kind in words, in every language.
    pub fn localized(self) -> LocalizedText {
        let (_, english, chinese, _) = self.facts();
        LocalizedText::new(english, chinese)
    }

    /// Returns the remedy that follows from the kind alone.
    pub fn remedy(self) -> Remedy {
        self.facts().3
    }

    /// Whether the kind alone means that no send was tried, also without a result object.
    fn is_before_send(self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::Forbidden
                | Self::NotFound
                | Self::MethodNotAllowed
                | Self::RateLimited
                | Self::Overloaded
                | Self::AuditUnavailable
                | Self::NoLedger
                | Self::KeyRequired
        )
    }
}

impl Problem {
    /// Creates a problem. The kind gives status and title.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (status, title, ..) = kind.facts();
        let extensions = Box::new(ProblemExtensions::Empty {});
        Self { kind, title: Cow::Borrowed(title), status, detail: detail.into(), extensions }
    }

    /// Adds further members.
    #[must_use]
    pub fn with(mut self, extensions: ProblemExtensions) -> Self {
        *self.extensions = extensions;
        self
    }

    /// Adds the members of the result object.
    #[must_use]
    pub fn with_result(self, result: SendResult) -> Self {
        self.with(ProblemExtensions::Result(result))
    }

    /// Parses the server's response to a message. `None` if it is not one, or status and outcome contradict each other.
    pub fn parse_send_result(message: &Message, status: u16, body: &[u8]) -> Option<SendResult> {
        let problem: Self = serde_json::from_slice(body).ok()?;
        let remedy = problem.remedy();
        let result = match *problem.extensions {
            ProblemExtensions::Result(result) => result,
            _ if problem.kind.is_before_send() => {
                SendResult { remedy, ..SendResult::new(SendStatus::NotSent) }
            }
            _ => return None,
        };
        result.outcome.fits(status).then(|| result.identified_by(message))
    }

    /// Returns the result of the message, if the problem has one.
    pub fn result(&self) -> Option<&SendResult> {
        match &*self.extensions {
            ProblemExtensions::Result(result) => Some(result),
            _ => None,
        }
    }

    /// Returns the remedy among the further members.
    pub fn remedy(&self) -> Option<Remedy> {
        match &*self.extensions {
            ProblemExtensions::Empty {} | ProblemExtensions::Unrecorded { .. } => None,
            ProblemExtensions::Result(result) => result.remedy,
            ProblemExtensions::Refusal { remedy, .. } => Some(*remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_without_result_round_trips() {
        let problem = Problem::new(ProblemKind::Forbidden, "no");
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(text, r#"{"kind":"forbidden","title":"Not allowed","status":403,"detail":"no"}"#);
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        assert_eq!((problem.result(), problem.remedy()), (None, None));
    }

    #[test]
    fn refusal_of_the_token_call_round_trips() {
        let errmsg = "not in whitelist rid: 6004f3da-1529ba72-5c345f67";
        let refusal = ProblemExtensions::Refusal {
            errcode: Some(ErrCode::IP_NOT_ALLOWED),
            errmsg: Some(errmsg.to_owned()),
            rid: TraceId::find_in(errmsg),
            remedy: Remedy::AllowIp,
        };
        let problem = Problem::new(ProblemKind::NoToken, "no token").with(refusal);
        let text = serde_json::to_string(&problem).unwrap();
        assert!(text.contains(r#""rid":"6004f3da-1529ba72-5c345f67","remedy":"allow_ip""#), "{text}");
        let read: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!((read.remedy(), read), (Some(Remedy::AllowIp), problem));
    }

    /// A newer server, or a gateway in front of it.
    #[test]
    fn unknown_kind_and_missing_members_are_read() {
        for text in ["{}", r#"{"kind":"tired","remedy":"sleep"}"#, r#"{"error":"bad gateway"}"#] {
            let problem: Problem = serde_json::from_str(text).unwrap();
            assert_eq!((problem.kind, problem.remedy()), (ProblemKind::Unknown, None), "{text}");
        }
        assert!(serde_json::to_string(&ProblemKind::Unknown).is_err());
    }
}
