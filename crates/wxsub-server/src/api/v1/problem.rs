//! The problems of the v1 API as responses (RFC 9457).

use std::time::Duration;

use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wxsub_api::{PROBLEM_JSON, Problem, ProblemExtensions, ProblemKind, SendResult};
use wxsub_core::token::TokenError;
use wxsub_proto::ApiError;

use crate::api::policy::{scope_names, usable_apps};
use crate::api::request::{BodyError, RequestContext, json_response};
use crate::apps::public_reason;
use crate::state::audit::{Action, Unrecorded};
use crate::state::denial::Denial;
use crate::state::limit::Limit;
use crate::state::pace::retry_after_s;

/// A problem as a response.
pub(in crate::api) struct ProblemResponse {
    pub(super) problem: Problem,
    pub(super) retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl ProblemResponse {
    pub(in crate::api) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(kind, detail), retry_after: None, allow: None }
    }

    /// Sets `Retry-After`.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Sets another status than that of the kind.
    pub(super) fn status(mut self, status: u16) -> Self {
        self.problem.status = status;
        self
    }

    /// Adds further members.
    pub(super) fn with(self, extensions: ProblemExtensions) -> Self {
        Self { problem: self.problem.with(extensions), ..self }
    }

    /// Adds the members of the result object.
    pub(super) fn with_result(self, result: SendResult) -> Self {
        Self { problem: self.problem.with_result(result), ..self }
    }

    /// Adds the result object of a message that was not tried, unless there is a result.
    pub(super) fn not_tried(self) -> Self {
        match self.problem.result() {
            Some(_) => self,
            None => {
                let result = SendResult::not_tried(self.problem.kind.remedy());
                self.with_result(result)
            }
        }
    }

    /// The problem of a denied request.
    pub(super) fn denied(denial: Denial, action: Action) -> Self {
        match denial {
            Denial::NoKey
            | Denial::UnknownKey
            | Denial::KeyExpired
            | Denial::AddressNotAllowed
            | Denial::UnknownToken => Self::new(
                ProblemKind::Unauthorized,
                "no known key; send Authorization: Bearer KEY with a key that this server knows",
            ),
            Denial::MissingScope => Self::new(
                ProblemKind::Forbidden,
                format!(
                    "the request needs {}; add what is missing to the scopes of the client in the server's configuration",
                    scope_names(action)
                ),
            ),
            Denial::AppNotAllowed => Self::new(ProblemKind::Forbidden, "this key may not use this app"),
            Denial::UnknownApp => {
                Self::new(ProblemKind::NotFound, "the app is not configured on this server")
            }
        }
    }

    /// Names the apps that the client may use, so that it can correct the AppID.
    pub(super) fn with_usable_apps(mut self, context: &RequestContext) -> Self {
        self.problem.detail += &format!("; this key may use {}", usable_apps(context));
        self
    }

    /// The problem of an app without a usable token.
    pub(super) fn no_token(error: &TokenError) -> Self {
        let api_error = error.api_error();
        let extensions = ProblemExtensions::Refusal {
            errcode: api_error.map(ApiError::errcode),
            errmsg: api_error.map(|error| error.errmsg().to_owned()),
            rid: api_error.and_then(ApiError::trace_id).cloned(),
            remedy: error.remedy(),
        };
        let detail = format!("{}; the server keeps trying to fetch one", public_reason(error));
        let problem = Problem::new(ProblemKind::NoToken, detail).with(extensions);
        Self { problem, retry_after: None, allow: None }
            .retry_after(error.retry_after().unwrap_or(Duration::from_secs(60)))
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(status, PROBLEM_JSON, &self.problem);
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(wait)));
        }
        if let Some(method) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(method));
        }
        if self.problem.kind == ProblemKind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<BodyError> for ProblemResponse {
    fn from(reason: BodyError) -> Self {
        match reason {
            BodyError::TooLarge => {
                Self::new(ProblemKind::TooLarge, "the body exceeds this server's limit; shorten it")
            }
            BodyError::Incomplete => Self::new(
                ProblemKind::Incomplete,
                "the body was not received completely in time; send it again",
            ),
        }
    }
}

/// A required audit could not record the request.
impl From<Unrecorded> for ProblemResponse {
    fn from(_: Unrecorded) -> Self {
        let detail = "the server cannot record the request, and its audit is required; retry later";
        Self::new(ProblemKind::AuditUnavailable, detail).retry_after(Duration::from_secs(5))
    }
}

impl From<Limit> for ProblemResponse {
    fn from(limit: Limit) -> Self {
        let problem = match limit {
            Limit::InFlightPerKey => Self::new(
                ProblemKind::RateLimited,
                "too many requests of this client at once; wait for their responses",
            ),
            Limit::RequestsPerKey => Self::new(
                ProblemKind::RateLimited,
                "too many requests of this client in a second; cache the token for expires_in, or send more slowly",
            ),
            _ => Self::new(ProblemKind::Overloaded, "server overloaded; retry later"),
        };
        problem.retry_after(Duration::from_secs(1))
    }
}

/// The response for a path without a route.
pub(in crate::api) fn not_found() -> ProblemResponse {
    ProblemResponse::new(ProblemKind::NotFound, "there is no such route; /openapi.json lists them")
}

/// The response to a method that the route does not take.
pub(in crate::api) fn wrong_method(methods: &'static str) -> ProblemResponse {
    let detail = format!("this route takes {methods} only");
    let problem = ProblemResponse::new(ProblemKind::MethodNotAllowed, detail);
    ProblemResponse { allow: Some(methods), ..problem }
}

#[cfg(test)]
mod tests {
    use wxsub_core::token::TokenErrorKind;
    use wxsub_core::transport::{TransportError, TransportErrorKind};

    use super::*;

    #[test]
    fn problem_without_token_shows_no_internal_cause() {
        let error = TransportError::before_sending(TransportErrorKind::Connect, "tcp connect error: PLANTED");
        let response = ProblemResponse::no_token(&TokenError::new(TokenErrorKind::Transport(error), None));
        let text = serde_json::to_string(&response.problem).unwrap();
        assert!(
            text.contains("no usable access token: no connection;") && !text.contains("PLANTED"),
            "{text}"
        );
    }
}
