//! The Weixin-compatible API, for existing SDKs: its responses.
//!
//! Every response has status 200. Every failure has `errcode` and `errmsg`. The codes are chosen so that SDKs do not repeat a
//! send that may have arrived, and do not retry endlessly.

pub(super) mod subscribe;
pub(super) mod token;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wxsub_api::{ProblemKind, SendStatus};
use wxsub_core::token::TokenError;
use wxsub_proto::{ApiError, ErrCode, Operation, ValidationError, ValidationErrorKind};

use super::policy::scope_names;
use super::request::{BodyError, Json, RequestContext};
use crate::apps::{ReportError, SendOutcome, public_reason};
use crate::state::audit::{Action, Unrecorded};
use crate::state::denial::Denial;
use crate::state::limit::Limit;

/// The errcode of the Weixin-compatible API for a message that may have been sent. No SDK repeats a call on this code.
pub const MAYBE_SENT: ErrCode = ErrCode::new(900_504);

/// `{"errcode","errmsg"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct WeixinResponse {
    errcode: ErrCode,
    errmsg: String,
}

impl WeixinResponse {
    fn new(errcode: ErrCode, errmsg: impl Into<String>) -> Self {
        Self { errcode, errmsg: errmsg.into() }
    }

    /// Records the errcode in the audit line of the request.
    fn audited(self, context: &RequestContext) -> Self {
        context.audit(|entry| entry.errcode = Some(self.errcode));
        self
    }

    /// The response to a denied request.
    fn denied(denial: Denial, action: Action) -> Self {
        match denial {
            Denial::NoKey | Denial::UnknownKey | Denial::KeyExpired | Denial::AddressNotAllowed => {
                Self::unknown_key()
            }
            Denial::MissingScope => {
                let errmsg = format!("api unauthorized: the request needs {}", scope_names(action));
                Self::new(ErrCode::API_UNAUTHORIZED, errmsg)
            }
            Denial::AppNotAllowed | Denial::UnknownApp => {
                Self::new(ErrCode::INVALID_APPID, "invalid appid: not an app of this client key")
            }
            Denial::UnknownToken => Self::new(
                ErrCode::INVALID_CREDENTIAL,
                "invalid credential, access_token is invalid or not latest",
            ),
        }
    }

    /// The key is missing or unknown. Never 40001: an SDK would retry that endlessly.
    fn unknown_key() -> Self {
        Self::new(ErrCode::INVALID_APPSECRET, "invalid appsecret: not a client key that this server knows")
    }

    fn rate_limited(why: &str) -> Self {
        Self::new(ErrCode::MINUTE_QUOTA, format!("api minute-quota reach limit: {why}"))
    }

    /// A parameter of a token call is invalid.
    fn invalid(invalid: &ValidationError) -> Self {
        let missing = matches!(invalid.rule(), ValidationErrorKind::Missing);
        let errcode = match (invalid.field(), missing) {
            ("appid", true) => ErrCode::MISSING_APPID,
            ("appid", false) => ErrCode::INVALID_APPID,
            ("grant_type", _) => ErrCode::INVALID_GRANT_TYPE,
            ("secret", true) => ErrCode::MISSING_SECRET,
            ("secret", false) => return Self::unknown_key(),
            _ => ErrCode::DATA_FORMAT,
        };
        Self::new(errcode, invalid.to_string())
    }

    /// There is no usable token.
    fn no_token(reason: &ReportError) -> Self {
        match reason {
            ReportError::RateLimited(_) => Self::rate_limited("too many forced refreshes; retry later"),
            ReportError::TimedOut => Self::new(ErrCode::SYSTEM_BUSY, "no access token in time; retry later"),
            ReportError::Failed(error) => Self::token_error(error),
        }
    }

    fn token_error(error: &TokenError) -> Self {
        match error.api_error() {
            Some(api_error) => Self::token_refused(api_error),
            None => Self::new(ErrCode::SYSTEM_BUSY, public_reason(error)),
        }
    }

    /// Weixin refused the server's token call.
    ///
    /// Its 40001 means that the server's AppSecret is wrong. The client would read it as a stale token, so it becomes 40125.
    fn token_refused(api_error: &ApiError) -> Self {
        match api_error.errcode() {
            ErrCode::INVALID_CREDENTIAL => Self::new(ErrCode::INVALID_APPSECRET, api_error.errmsg()),
            errcode => Self::new(errcode, api_error.errmsg()),
        }
    }

    /// The response for a message.
    fn sent(SendOutcome { result, problem, .. }: &SendOutcome) -> Self {
        let kind = problem.as_ref().map(|(kind, _)| *kind);
        let text = || problem.as_ref().map_or_else(String::new, |(_, detail)| format!("wxsub: {detail}"));
        match (result.outcome, kind, result.api_error()) {
            (SendStatus::Sent, ..) => Self::new(ErrCode::OK, "ok"),
            (SendStatus::Refused, _, Some((api_error, _))) => {
                Self::new(api_error.errcode(), api_error.errmsg())
            }
            (SendStatus::NotSent, Some(ProblemKind::GrantUnavailable | ProblemKind::NoGrant), _) => {
                Self::new(ErrCode::USER_REFUSED, text())
            }
            (SendStatus::NotSent, Some(ProblemKind::RateLimited), _) => Self::rate_limited(&text()),
            (SendStatus::NotSent, Some(ProblemKind::KeyRequired), _) => {
                Self::new(ErrCode::ARGUMENT_INVALID, text())
            }
            (SendStatus::NotSent, Some(ProblemKind::LedgerUnavailable | ProblemKind::Paused), _) => {
                Self::new(ErrCode::SYSTEM_BUSY, text())
            }
            (SendStatus::NotSent, _, Some((api_error, _))) => Self::send_without_token(&api_error),
            (SendStatus::NotSent, ..) => {
                Self::new(ErrCode::SYSTEM_BUSY, "the message was not sent; it is safe to send it again")
            }
            (SendStatus::MaybeSent | SendStatus::Refused | SendStatus::Invalid, ..) => {
                Self::new(MAYBE_SENT, "the message may have been sent, do not repeat it")
            }
        }
    }

    /// Weixin refused the server's token call before the message.
    ///
    /// An SDK would read that errcode as a refusal of the message and not send it again. So the errcode is in the text only.
    fn send_without_token(api_error: &ApiError) -> Self {
        let remedy = api_error.errcode().remedy(Operation::FetchToken);
        let errmsg = format!(
            "the message was not sent: Weixin refused the token call: {api_error}; remedy {remedy}: {}",
            remedy.advice()
        );
        Self::new(ErrCode::SYSTEM_BUSY, errmsg)
    }
}

impl From<BodyError> for WeixinResponse {
    fn from(reason: BodyError) -> Self {
        match reason {
            BodyError::TooLarge => Self::new(ErrCode::new(45002), "content size out of limit"),
            BodyError::Incomplete => {
                Self::new(ErrCode::DATA_FORMAT, "data format error: the body was not received completely")
            }
        }
    }
}

/// A required audit could not record the request.
impl From<Unrecorded> for WeixinResponse {
    fn from(_: Unrecorded) -> Self {
        let errmsg = "the server cannot record the request, and its audit is required; retry later";
        Self::new(ErrCode::SYSTEM_BUSY, errmsg)
    }
}

impl From<Limit> for WeixinResponse {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::InFlightPerKey => {
                Self::rate_limited("too many requests at once; wait for their responses")
            }
            Limit::RequestsPerKey => {
                Self::rate_limited("too many requests in a second; cache the token, or send more slowly")
            }
            _ => Self::new(ErrCode::SYSTEM_BUSY, "server overloaded; retry later"),
        }
    }
}

impl IntoResponse for WeixinResponse {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// The response for a path without a route.
pub(super) fn not_found() -> WeixinResponse {
    WeixinResponse::new(ErrCode::INVALID_URL, "invalid url: this server does not serve it")
}

/// The response to another method than GET.
pub(super) async fn only_get() -> WeixinResponse {
    WeixinResponse::new(ErrCode::new(43001), "require GET method")
}

/// The response to another method than POST.
pub(super) async fn only_post() -> WeixinResponse {
    WeixinResponse::new(ErrCode::REQUIRE_POST, "require POST method")
}

#[cfg(test)]
mod tests {
    use wxsub_proto::LocalizedText;

    use super::*;

    #[test]
    fn invalid_parameter_gets_the_errcode_of_weixin() {
        let format = ValidationErrorKind::InvalidFormat { expected: LocalizedText::new("x", "x") };
        for (field, rule, errcode) in [
            ("appid", ValidationErrorKind::Missing, 41002),
            ("appid", ValidationErrorKind::Empty, 40013),
            ("grant_type", ValidationErrorKind::Missing, 40002),
            ("grant_type", format.clone(), 40002),
            ("secret", ValidationErrorKind::Missing, 41004),
            ("secret", ValidationErrorKind::Empty, 40125),
            ("body", format, 47001),
        ] {
            assert_eq!(
                WeixinResponse::invalid(&ValidationError::new(field, rule)).errcode.get(),
                errcode,
                "{field}"
            );
        }
    }

    #[test]
    fn a_40001_on_the_token_call_becomes_40125() {
        for (errcode, expected) in [(40001, 40125), (40164, 40164), (7, 7)] {
            let response = WeixinResponse::token_refused(&ApiError::new(ErrCode::new(errcode), "text"));
            assert_eq!((response.errcode.get(), response.errmsg.as_str()), (expected, "text"));
        }
    }
}
