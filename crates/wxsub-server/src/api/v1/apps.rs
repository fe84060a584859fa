//! `GET /v1/apps`: the health of each app, for operators.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use wxsub_core::clock::ClockReading;
use wxsub_proto::{AppId, ErrCode, Remedy, TraceId};

use super::problem::Problem;
use super::{authenticate, json};
use crate::app::ManagedApp;
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::RequestContext;
use crate::send_result::RemedyName;
use crate::state::AuditOutcome;

/// All apps that the key may use.
#[derive(Serialize, ToSchema)]
#[schema(as = Apps)]
pub(super) struct AppsResponse<'a> {
    apps: Vec<AppStatus<'a>>,
}

/// The status of one app. It contains no secret.
#[derive(Serialize, ToSchema)]
#[schema(as = App)]
pub(super) struct AppStatus<'a> {
    #[schema(value_type = String)]
    appid: &'a AppId,
    state: AppHealth,
    token_endpoint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    suspect: bool,
    /// The state file could not be read when the server started, and was renamed to `*.broken`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    state_file_broken: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AppError>,
}

/// Whether the app has a usable token, and whether fetching works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AppHealth {
    /// There is a token, and fetching works.
    Ok,
    /// There is a token, but fetching the next one fails, or the token may expire early.
    Degraded,
    /// There is no token yet, and no fetch has failed.
    Starting,
    /// There is no token, and fetching fails.
    Down,
}

/// Why fetching fails.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppError {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    errcode: Option<ErrCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rid: Option<TraceId>,
    #[schema(value_type = RemedyName)]
    pub(crate) remedy: Remedy,
    /// Time of the first failure, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

/// The current health of an app, and its error.
pub(crate) fn health(app: &ManagedApp, now: ClockReading) -> (AppHealth, Option<AppError>) {
    let status = app.token_cache.status();
    let error = status.failure.as_ref().map(|error| AppError {
        text: error.kind().to_string(),
        errcode: error.api_error().map(wxsub_proto::ApiError::errcode),
        rid: error.api_error().and_then(wxsub_proto::ApiError::trace_id).cloned(),
        remedy: error.remedy(),
        since: app.failing_since().map(wxsub_core::clock::UnixMillis::get),
    });
    let state = match (status.usable(now), &error) {
        (Some(_), None) if !status.is_in_doubt(now) => AppHealth::Ok,
        (Some(_), _) => AppHealth::Degraded,
        (None, None) => AppHealth::Starting,
        (None, Some(_)) => AppHealth::Down,
    };
    (state, error)
}

#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    summary = "The health of the apps of the key; needs admin",
    security(("key" = [])),
    responses(
        (status = 200, body = AppsResponse<'_>, description = "The health of each app, without secrets"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
    )
)]
pub(super) async fn list(context: RequestContext) -> Response {
    let (client, problem) = match authenticate(&context, Scope::Admin) {
        Ok(client) => (Some(client), None),
        Err((client, problem)) => (client, Some(problem)),
    };
    let outcome = if problem.is_none() { "ok" } else { "denied" };
    context.state.record_audit(
        ApiSurface::V1,
        Action::List,
        &context.caller(client),
        &AuditOutcome { outcome, ..AuditOutcome::default() },
    );
    if let Some(problem) = problem {
        return problem.into_response();
    }
    let now = context.state.clock().now();
    let apps = context
        .snapshot
        .apps
        .values()
        .filter(|app| client.is_some_and(|client| client.can_access(app.appid())));
    json(&AppsResponse {
        apps: apps
            .map(|app| app_status(app, now, context.state.has_corrupt_state_file(app.appid())))
            .collect(),
    })
}

fn app_status(app: &ManagedApp, now: ClockReading, state_file_broken: bool) -> AppStatus<'_> {
    let (state, error) = health(app, now);
    let status = app.token_cache.status();
    let token = status.usable(now);
    AppStatus {
        appid: app.appid(),
        state,
        token_endpoint: app.config.endpoint.as_str(),
        generation: token.map(|token| token.generation().get()),
        expires_in: token.map(|token| token.remaining(now).as_secs()),
        suspect: status.is_in_doubt(now),
        state_file_broken,
        error,
    }
}
