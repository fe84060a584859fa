//! Errors of the v1 API: `application/problem+json` (RFC 9457).
//!
//! Each says what is wrong and what to do. Internal causes stay in log and status.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use wxsub_core::token::TokenError;
use wxsub_proto::{ErrCode, Remedy, TraceId};

use crate::app::public_reason;
use crate::send_result::{RemedyName, SendResult};

/// The kind of a problem, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotJson,
    Incomplete,
    TooLarge,
    Invalid,
    RateLimited,
    Overloaded,
    NoToken,
    Refused,
    NotSent,
    MaybeSent,
}

/// The problem details of a response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(flatten)]
    #[schema(value_type = ProblemExtensions)]
    extensions: Box<ProblemExtensions>,
}

/// Further members of the problem details.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ProblemExtensions {
    Empty {},
    Result(SendResult),
    Refusal {
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<i64>)]
        errcode: Option<ErrCode>,
        #[serde(skip_serializing_if = "Option::is_none")]
        errmsg: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        rid: Option<TraceId>,
        #[schema(value_type = RemedyName)]
        remedy: Remedy,
    },
}

impl ProblemKind {
    fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson | Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid | Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::NoToken | Self::NotSent => StatusCode::SERVICE_UNAVAILABLE,
            Self::MaybeSent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "No known key",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Wrong method",
            Self::NotJson => "Not JSON",
            Self::Incomplete => "Incomplete request",
            Self::TooLarge => "Too large",
            Self::Invalid => "Invalid",
            Self::RateLimited => "Too many reports",
            Self::Overloaded => "Server overloaded",
            Self::NoToken => "No usable token",
            Self::Refused => "Refused by Weixin",
            Self::NotSent => "Not sent",
            Self::MaybeSent => "Maybe sent",
        }
    }

    /// The remedy that follows from the kind alone.
    pub(crate) fn remedy(self) -> Remedy {
        match self {
            Self::Unauthorized | Self::Forbidden | Self::NotFound => Remedy::FixConfig,
            Self::RateLimited | Self::Overloaded => Remedy::SlowDown,
            Self::NoToken | Self::NotSent => Remedy::RetryLater,
            Self::Refused | Self::MaybeSent => Remedy::Investigate,
            Self::MethodNotAllowed | Self::NotJson | Self::Incomplete | Self::TooLarge | Self::Invalid => {
                Remedy::FixRequest
            }
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (title, status) = (kind.title(), kind.status().as_u16());
        Self {
            kind,
            title,
            status,
            detail: detail.into(),
            retry_after: None,
            extensions: Box::new(ProblemExtensions::Empty {}),
        }
    }

    /// Sets `Retry-After`.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Adds the members of the result object.
    pub(crate) fn with_result(self, result: SendResult) -> Self {
        Self { extensions: Box::new(ProblemExtensions::Result(result)), ..self }
    }

    pub(crate) fn has_result(&self) -> bool {
        matches!(*self.extensions, ProblemExtensions::Result(_))
    }

    /// The problem of an app without a usable token.
    pub(crate) fn no_token(error: &TokenError) -> Self {
        let api_error = error.api_error();
        let extensions = ProblemExtensions::Refusal {
            errcode: api_error.map(wxsub_proto::ApiError::errcode),
            errmsg: api_error.map(|api_error| api_error.errmsg().to_owned()),
            rid: api_error.and_then(wxsub_proto::ApiError::trace_id).cloned(),
            remedy: error.remedy(),
        };
        let problem = Self::new(
            ProblemKind::NoToken,
            format!("{}; the server keeps trying to fetch one", public_reason(error)),
        );
        Self { extensions: Box::new(extensions), ..problem }
            .retry_after(error.retry_after().unwrap_or(Duration::from_secs(60)))
    }
}

/// Whole seconds, at least 1. Zero would invite an immediate retry.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(serde_json::to_vec(&self).unwrap_or_default()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        match self.kind {
            ProblemKind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::MethodNotAllowed => {
                headers.insert(
                    ALLOW,
                    HeaderValue::from_static(if self.detail.contains("GET") { "GET" } else { "POST" }),
                );
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use wxsub_core::token::TokenErrorKind;
    use wxsub_core::transport::{TransportError, TransportErrorKind};

    use super::*;

    #[test]
    fn problem_without_token_shows_no_internal_cause() {
        let error = TransportError::before_sending(TransportErrorKind::Connect, "tcp connect error: PLANTED");
        let problem = Problem::no_token(&TokenError::new(TokenErrorKind::Transport(error), None));
        let text = serde_json::to_string(&problem).unwrap();
        assert!(
            text.contains("no usable access token: no connection;") && !text.contains("PLANTED"),
            "{text}"
        );
    }
}
