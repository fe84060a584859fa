//! `GET …/access_token`, and `POST …/access_token/report` for a token that Weixin rejects.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wxsub_proto::AccessToken;

use super::problem::{Problem, ProblemKind};
use super::{AppIdPath, authorize, body_problem, json, parse_appid};
use crate::app::{ManagedApp, ReportError, ServedToken};
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::{AuditCaller, RequestContext};
use crate::state::{AuditOutcome, ServerState};

/// The current token of an app.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenResponse<'a> {
    access_token: &'a str,
    expires_in: u64,
    generation: u64,
}

/// The body of a report: the token that Weixin rejected.
#[derive(Deserialize, ToSchema)]
pub(super) struct ReportRequest {
    access_token: String,
}

#[utoipa::path(
    get,
    path = "/v1/apps/{appid}/access_token",
    operation_id = "read_token",
    summary = "The current token; needs token:read",
    security(("key" = [])),
    params(("appid" = String, Path)),
    responses(
        (status = 200, body = TokenResponse<'_>, description = "Use it for expires_in seconds, then request it again"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope, or may not use this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps get this status"),
        (status = 503, body = Problem, description = "No usable token; see Retry-After")
    )
)]
pub(super) async fn read(path: AppIdPath, context: RequestContext) -> Response {
    let (client, app) = match authorize(&context, &path, Scope::TokenRead) {
        Ok(found) => found,
        Err((client, problem)) => {
            return denied(&context, &path, context.caller(client), Action::Read, problem);
        }
    };
    let caller = context.caller(Some(client));
    let outcome = match app.current() {
        Some(current) => Ok(current),
        // Boxed to keep the future small when there is no wait.
        None => match Box::pin(context.with_timeout(app.token())).await {
            Some(token) => token.map_err(ReportError::Failed),
            None => Err(ReportError::TimedOut),
        },
    };
    respond(&context.state, app, caller, Action::Read, outcome)
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/access_token/report",
    operation_id = "report_token",
    summary = "Reports a token that Weixin rejects; needs token:report",
    security(("key" = [])),
    params(("appid" = String, Path)),
    request_body = ReportRequest,
    responses(
        (status = 200, body = TokenResponse<'_>, description = "The current token, which differs from the reported one"),
        (status = 400, body = Problem, description = "Not JSON"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope, or may not use this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps get this status"),
        (status = 413, body = Problem, description = "Too large"),
        (status = 422, body = Problem, description = "access_token is missing or invalid"),
        (status = 429, body = Problem, description = "Too many reports; see Retry-After"),
        (status = 503, body = Problem, description = "No other token is available; see Retry-After")
    )
)]
pub(super) async fn report(path: AppIdPath, context: RequestContext) -> Response {
    let (client, app) = match authorize(&context, &path, Scope::TokenReport) {
        Ok(found) => found,
        Err((client, problem)) => {
            return denied(&context, &path, context.caller(client), Action::Report, problem);
        }
    };
    let caller = context.caller(Some(client));
    let token = match context.body().await.map_err(body_problem).and_then(|body| parse_report(&body)) {
        Ok(token) => token,
        Err(problem) => return denied(&context, &path, caller, Action::Report, problem),
    };
    let refresh = app.report_invalid(&client.name, app.generation_of(&token));
    let outcome = context.with_timeout(refresh).await.unwrap_or(Err(ReportError::TimedOut));
    respond(&context.state, app, caller, Action::Report, outcome)
}

fn parse_report(body: &[u8]) -> Result<AccessToken, Problem> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| {
        Problem::new(ProblemKind::NotJson, "the body is not JSON; send {\"access_token\":\"…\"}")
    })?;
    let request: ReportRequest = serde_json::from_value(value).map_err(|_| {
        Problem::new(
            ProblemKind::Invalid,
            "access_token: is missing or is not text; send {\"access_token\":\"…\"}",
        )
    })?;
    AccessToken::new(request.access_token)
        .map_err(|invalid| Problem::new(ProblemKind::Invalid, invalid.to_string()))
}

fn respond(
    state: &ServerState,
    app: &ManagedApp,
    caller: AuditCaller<'_>,
    action: Action,
    outcome: Result<ServedToken, ReportError>,
) -> Response {
    let audit = AuditOutcome { appid: Some(app.appid()), ..AuditOutcome::default() };
    let (audit, response) = match outcome {
        Ok(served) => {
            let generation = served.cached.generation().get();
            let access_token = served.cached.token().expose_secret();
            let expires_in = served.expires_in.as_secs();
            state.metrics().record_read(ApiSurface::V1);
            let audit = AuditOutcome { outcome: "ok", generation: Some(generation), ..audit };
            (audit, json(&TokenResponse { access_token, expires_in, generation }))
        }
        Err(ReportError::RateLimited(wait)) => {
            let problem = Problem::new(
                ProblemKind::RateLimited,
                "too many reports; wait, then report the token again if Weixin still rejects it",
            );
            (AuditOutcome { outcome: "rate_limited", ..audit }, problem.retry_after(wait).into_response())
        }
        Err(ReportError::TimedOut) => {
            let problem = Problem::new(
                ProblemKind::NoToken,
                "no access token in time; retry later: the server keeps trying to fetch one",
            );
            (
                AuditOutcome { outcome: "no_token", ..audit },
                problem.retry_after(Duration::from_secs(5)).into_response(),
            )
        }
        Err(ReportError::Failed(error)) => {
            let errcode = error.api_error().map(wxsub_proto::ApiError::errcode);
            (
                AuditOutcome { outcome: "no_token", errcode, ..audit },
                Problem::no_token(&error).into_response(),
            )
        }
    };
    if action == Action::Report {
        state.metrics().record_report(app.appid(), audit.outcome);
    }
    state.record_audit(ApiSurface::V1, action, &caller, &audit);
    response
}

fn denied(
    context: &RequestContext,
    path: &AppIdPath,
    caller: AuditCaller<'_>,
    action: Action,
    problem: Problem,
) -> Response {
    let appid = parse_appid(path);
    let audit = AuditOutcome { appid: appid.as_ref(), outcome: "denied", ..AuditOutcome::default() };
    context.state.record_audit(ApiSurface::V1, action, &caller, &audit);
    problem.into_response()
}
