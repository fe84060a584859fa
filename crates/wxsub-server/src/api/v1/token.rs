//! `GET …/access_token`, and `POST …/access_token/report` for one that no longer works.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wxsub_proto::AccessToken;

use super::problem::{Problem, ProblemKind};
use super::{AppIdPath, app, appid, json, no_body};
use crate::app::{ManagedApp, ReportError, ServedToken};
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::{AuditCaller, RequestContext};
use crate::state::{AuditOutcome, ServerState};

/// A token on its way to whoever may have it.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenResponse<'a> {
    access_token: &'a str,
    expires_in: u64,
    generation: u64,
}

/// The token that failed.
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
        (status = 200, body = TokenResponse<'_>, description = "Use it for expires_in seconds, then ask again"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope, or is not for this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps are told"),
        (status = 503, body = Problem, description = "No usable token; see Retry-After")
    )
)]
pub(super) async fn read(named: AppIdPath, call: RequestContext) -> Response {
    let (client, app) = match app(&call, &named, Scope::TokenRead) {
        Ok(found) => found,
        Err((client, problem)) => return denied(&call, &named, call.caller(client), Action::Read, problem),
    };
    let caller = call.caller(Some(client));
    let outcome = match app.current() {
        Some(current) => Ok(current),
        // Boxed, so that whoever need not wait makes no room for it.
        None => match Box::pin(call.with_timeout(app.token())).await {
            Some(token) => token.map_err(ReportError::Failed),
            None => Err(ReportError::TimedOut),
        },
    };
    answer(&call.house, app, caller, Action::Read, outcome)
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/access_token/report",
    operation_id = "report_token",
    summary = "This token no longer works; needs token:report",
    security(("key" = [])),
    params(("appid" = String, Path)),
    request_body = ReportRequest,
    responses(
        (status = 200, body = TokenResponse<'_>, description = "The current token, which is another"),
        (status = 400, body = Problem, description = "Not JSON"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope, or is not for this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps are told"),
        (status = 413, body = Problem, description = "Too large"),
        (status = 422, body = Problem, description = "No access_token, or not one"),
        (status = 429, body = Problem, description = "Too many reports; see Retry-After"),
        (status = 503, body = Problem, description = "No other could be had; see Retry-After")
    )
)]
pub(super) async fn report(named: AppIdPath, call: RequestContext) -> Response {
    let (client, app) = match app(&call, &named, Scope::TokenReport) {
        Ok(found) => found,
        Err((client, problem)) => return denied(&call, &named, call.caller(client), Action::Report, problem),
    };
    let caller = call.caller(Some(client));
    let token = match call.body().await.map_err(no_body).and_then(|body| reported(&body)) {
        Ok(token) => token,
        Err(problem) => return denied(&call, &named, caller, Action::Report, problem),
    };
    let work = app.report_invalid(&client.name, app.generation_of(&token));
    let outcome = call.with_timeout(work).await.unwrap_or(Err(ReportError::TimedOut));
    answer(&call.house, app, caller, Action::Report, outcome)
}

fn reported(body: &[u8]) -> Result<AccessToken, Problem> {
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|_| Problem::new(ProblemKind::NotJson, "the body must be JSON: {\"access_token\":\"…\"}"))?;
    let read: ReportRequest = serde_json::from_value(value)
        .map_err(|_| Problem::new(ProblemKind::Invalid, "access_token: is missing, or is not text"))?;
    AccessToken::new(read.access_token)
        .map_err(|invalid| Problem::new(ProblemKind::Invalid, invalid.to_string()))
}

fn answer(
    house: &ServerState,
    app: &ManagedApp,
    caller: AuditCaller<'_>,
    action: Action,
    outcome: Result<ServedToken, ReportError>,
) -> Response {
    let told = AuditOutcome { appid: Some(app.appid()), ..AuditOutcome::default() };
    let (told, response) = match outcome {
        Ok(vouched) => {
            let generation = vouched.issued.generation().get();
            let access_token = vouched.issued.token().expose_secret();
            let expires_in = vouched.expires_in.as_secs();
            house.metrics().read(ApiSurface::V1);
            let told = AuditOutcome { outcome: "ok", generation: Some(generation), ..told };
            (told, json(&TokenResponse { access_token, expires_in, generation }))
        }
        Err(ReportError::Rationed(wait)) => {
            let problem = Problem::new(
                ProblemKind::RateLimited,
                "too many reports; wait and report again if it is still needed",
            );
            (AuditOutcome { outcome: "rate_limited", ..told }, problem.retry_after(wait).into_response())
        }
        Err(ReportError::TimedOut) => {
            let problem = Problem::new(
                ProblemKind::NoToken,
                "no token came in time; the server goes on trying by itself",
            );
            (
                AuditOutcome { outcome: "no_token", ..told },
                problem.retry_after(Duration::from_secs(5)).into_response(),
            )
        }
        Err(ReportError::Failed(error)) => {
            let errcode = error.refusal().map(wxsub_proto::ApiError::errcode);
            (AuditOutcome { outcome: "no_token", errcode, ..told }, Problem::no_token(&error).into_response())
        }
    };
    if action == Action::Report {
        house.metrics().reported(app.appid(), told.outcome);
    }
    house.record_audit(ApiSurface::V1, action, &caller, &told);
    response
}

fn denied(
    call: &RequestContext,
    named: &AppIdPath,
    caller: AuditCaller<'_>,
    action: Action,
    problem: Problem,
) -> Response {
    let appid = appid(named);
    let told = AuditOutcome { appid: appid.as_ref(), outcome: "denied", ..AuditOutcome::default() };
    call.house.record_audit(ApiSurface::V1, action, &caller, &told);
    problem.into_response()
}
