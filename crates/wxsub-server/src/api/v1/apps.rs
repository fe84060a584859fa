//! `GET /v1/apps`: how each app is, for those who run the server.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use wxsub_core::clock::ClockReading;
use wxsub_proto::{AppId, ErrCode, Remedy, TraceId};

use super::problem::Problem;
use super::{client, json};
use crate::app::ManagedApp;
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::RequestContext;
use crate::send_result::RemedyName;
use crate::state::AuditOutcome;

/// All apps that the key is for.
#[derive(Serialize, ToSchema)]
#[schema(as = Apps)]
pub(super) struct AppsResponse<'a> {
    apps: Vec<AppStatus<'a>>,
}

/// One app, without anything secret.
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
    /// Its state file could not be read when the server started, and was set aside as `*.broken`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    state_file_broken: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AppError>,
}

/// Whether there is a token, and whether all is well with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AppHealth {
    /// There is a token, and nothing is wrong.
    Ok,
    /// There is a token, but fetching its successor fails, or it may die before its time.
    Degraded,
    /// There is none yet, and nothing has failed.
    Starting,
    /// There is none.
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
    /// Since when, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

/// How an app is now.
pub(crate) fn state(app: &ManagedApp, now: ClockReading) -> (AppHealth, Option<AppError>) {
    let status = app.keeper.status();
    let trouble = status.failure.as_ref().map(|error| AppError {
        text: error.kind().to_string(),
        errcode: error.refusal().map(wxsub_proto::ApiError::errcode),
        rid: error.refusal().and_then(wxsub_proto::ApiError::trace_id).cloned(),
        remedy: error.remedy(),
        since: app.failing_since().map(wxsub_core::clock::UnixMillis::get),
    });
    let state = match (status.usable(now), &trouble) {
        (Some(_), None) if !status.is_in_doubt(now) => AppHealth::Ok,
        (Some(_), _) => AppHealth::Degraded,
        (None, None) => AppHealth::Starting,
        (None, Some(_)) => AppHealth::Down,
    };
    (state, trouble)
}

#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    summary = "How the apps of the key are; needs admin",
    security(("key" = [])),
    responses(
        (status = 200, body = AppsResponse<'_>, description = "Without anything secret"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
    )
)]
pub(super) async fn list(call: RequestContext) -> Response {
    let (client, problem) = match client(&call, Scope::Admin) {
        Ok(client) => (Some(client), None),
        Err((client, problem)) => (client, Some(problem)),
    };
    let outcome = if problem.is_none() { "ok" } else { "denied" };
    call.house.record_audit(
        ApiSurface::V1,
        Action::List,
        &call.caller(client),
        &AuditOutcome { outcome, ..AuditOutcome::default() },
    );
    if let Some(problem) = problem {
        return problem.into_response();
    }
    let now = call.house.clock().now();
    let apps =
        call.snapshot.apps.values().filter(|app| client.is_some_and(|client| client.can_access(app.appid())));
    json(&AppsResponse { apps: apps.map(|app| shown(app, now, call.house.is_broken(app.appid()))).collect() })
}

fn shown(app: &ManagedApp, now: ClockReading, state_file_broken: bool) -> AppStatus<'_> {
    let (state, error) = state(app, now);
    let status = app.keeper.status();
    let held = status.usable(now);
    AppStatus {
        appid: app.appid(),
        state,
        token_endpoint: app.config.endpoint.as_str(),
        generation: held.map(|issued| issued.generation().get()),
        expires_in: held.map(|issued| issued.remaining(now).as_secs()),
        suspect: status.is_in_doubt(now),
        state_file_broken,
        error,
    }
}
