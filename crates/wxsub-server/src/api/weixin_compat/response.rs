//! Answers in Weixin's form.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use serde::Serialize;
use wxsub_core::SendError;
use wxsub_core::token::TokenError;
use wxsub_proto::{ApiError, ErrCode, Operation, ValidationError, ValidationErrorKind};

use crate::app::{ReportError, public_reason};
use crate::context::BodyError;
use crate::send::Sent;
use crate::send_result::SendStatus;

/// What the Weixin-compatible API answers for a message that may have been sent. No SDK repeats a call because of it.
pub const MAYBE_SENT: ErrCode = ErrCode::new(900_504);

/// `{"errcode","errmsg"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct WeixinResponse {
    pub(super) errcode: ErrCode,
    errmsg: String,
}

impl WeixinResponse {
    pub(super) fn new(errcode: ErrCode, errmsg: impl Into<String>) -> Self {
        Self { errcode, errmsg: errmsg.into() }
    }

    /// No key, or none that is known; never 40001, because of which an SDK would ask for ever.
    pub(super) fn unknown_key() -> Self {
        Self::new(ErrCode::INVALID_APPSECRET, "invalid appsecret: not a client key that this server knows")
    }

    /// Whether it exists or not.
    pub(super) fn unknown_app() -> Self {
        Self::new(ErrCode::INVALID_APPID, "invalid appid: not an app of this client key")
    }

    pub(super) fn no_scope(scope: &str) -> Self {
        Self::new(
            ErrCode::API_UNAUTHORIZED,
            format!("api unauthorized: this client key lacks the scope {scope}"),
        )
    }

    pub(super) fn limit(why: &str) -> Self {
        Self::new(ErrCode::MINUTE_QUOTA, format!("api minute-quota reach limit: {why}"))
    }

    pub(super) fn no_body(reason: BodyError) -> Self {
        match reason {
            BodyError::TooLarge => Self::new(ErrCode::new(45002), "content size out of limit"),
            BodyError::Incomplete => {
                Self::new(ErrCode::DATA_FORMAT, "data format error: the body did not come whole")
            }
        }
    }

    /// A parameter of a token call that breaks a rule.
    pub(super) fn invalid(invalid: &ValidationError) -> Self {
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

    /// There is no token to hand out.
    pub(super) fn no_token(reason: &ReportError) -> Self {
        match reason {
            ReportError::Rationed(_) => Self::limit("too many forced refreshes"),
            ReportError::TimedOut => {
                Self::new(ErrCode::SYSTEM_BUSY, "no token came in time; try again later")
            }
            ReportError::Failed(error) => Self::token_error(error),
        }
    }

    fn token_error(error: &TokenError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::refused_token(refusal),
            None => Self::new(ErrCode::SYSTEM_BUSY, public_reason(error)),
        }
    }

    /// Weixin's own words about our token call. A 40001 there is our wrong AppSecret, not the client's stale token.
    fn refused_token(refusal: &ApiError) -> Self {
        match refusal.errcode() {
            ErrCode::INVALID_CREDENTIAL => Self::new(ErrCode::INVALID_APPSECRET, refusal.errmsg()),
            errcode => Self::new(errcode, refusal.errmsg()),
        }
    }

    /// What became of a message.
    pub(super) fn sent(sent: &Sent) -> Self {
        match (sent.result.outcome, sent.error.as_ref().and_then(SendError::refusal)) {
            (SendStatus::Sent, _) => Self::new(ErrCode::OK, "ok"),
            (SendStatus::Refused, Some(refusal)) => Self::new(refusal.errcode(), refusal.errmsg()),
            (SendStatus::NotSent, Some(refusal)) => Self::no_token_to_send(refusal),
            (SendStatus::NotSent, None) => {
                Self::new(ErrCode::SYSTEM_BUSY, "the message was certainly not sent; it can be tried again")
            }
            (SendStatus::MaybeSent | SendStatus::Refused | SendStatus::Invalid, _) => {
                Self::new(MAYBE_SENT, "the message may have been sent, do not repeat it")
            }
        }
    }

    /// Weixin refused our token call before the message. Its code would read as a refusal of the message, which is not
    /// repeated, so it stands in the text.
    fn no_token_to_send(refusal: &ApiError) -> Self {
        let remedy = refusal.errcode().remedy(Operation::FetchToken);
        let errmsg = format!(
            "the message was not sent, because Weixin refused the token call: {refusal}; remedy {remedy}: {}",
            remedy.advice()
        );
        Self::new(ErrCode::SYSTEM_BUSY, errmsg)
    }

    pub(super) fn into_response(self) -> Response {
        json(&self)
    }
}

/// As Weixin answers: always 200.
pub(super) fn json(value: &impl Serialize) -> Response {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_call_names_its_parameter_as_weixin_does() {
        let form = ValidationErrorKind::InvalidFormat { expected: "x" };
        for (field, rule, errcode) in [
            ("appid", ValidationErrorKind::Missing, 41002),
            ("appid", ValidationErrorKind::Empty, 40013),
            ("grant_type", ValidationErrorKind::Missing, 40002),
            ("grant_type", form.clone(), 40002),
            ("secret", ValidationErrorKind::Missing, 41004),
            ("secret", ValidationErrorKind::Empty, 40125),
            ("body", form, 47001),
        ] {
            assert_eq!(
                WeixinResponse::invalid(&ValidationError::new(field, rule)).errcode.get(),
                errcode,
                "{field}"
            );
        }
    }

    #[test]
    fn a_40001_to_our_token_call_is_about_the_secret() {
        for (errcode, handed_on) in [(40001, 40125), (40164, 40164), (7, 7)] {
            let answer = WeixinResponse::refused_token(&ApiError::new(ErrCode::new(errcode), "text"));
            assert_eq!((answer.errcode.get(), answer.errmsg.as_str()), (handed_on, "text"));
        }
    }
}
