//! `GET /v1/apps`: the health of each app, for operators.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wxsub_api::{AppList, AppStatus, Problem, StoreProblem};
use wxsub_core::clock::ClockReading;

use super::{ProblemResponse, bearer};
use crate::api::policy::authorize;
use crate::api::request::{Json, RequestContext};
use crate::apps::{ManagedApp, ServerState};
use crate::config::ApiClient;
use crate::state::audit::Action;

/// A client with the scope `admin`. An axum extractor.
#[derive(Debug)]
pub(in crate::api) struct Operator {
    context: RequestContext,
    client: Arc<ApiClient>,
}

impl FromRequestParts<Arc<ServerState>> for Operator {
    type Rejection = ProblemResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<ServerState>,
    ) -> Result<Self, ProblemResponse> {
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        let client = authorize(&context, bearer(&parts.headers), Action::List)
            .map_err(|denial| ProblemResponse::denied(denial, Action::List))?;
        Ok(Self { context, client })
    }
}

#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    summary = "The health of the apps of the key; needs admin",
    security(("key" = [])),
    responses(
        (status = 200, body = AppList, description = "The health of each app, without secrets"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
    )
)]
pub(in crate::api) async fn list(Operator { context, client }: Operator) -> Json<AppList> {
    context.audit(|entry| entry.outcome = "ok");
    let state = context.state();
    let now = state.clock().now();
    let apps = context.snapshot().apps.values().filter(|app| client.can_access(app.appid()));
    let apps = apps.map(|app| app_status(app, now, state.has_corrupt_state_file(app.appid())));
    Json(AppList { apps: apps.collect() })
}

fn app_status(app: &ManagedApp, now: ClockReading, state_file_broken: bool) -> AppStatus {
    let (state, error) = app.health(now);
    let status = app.token_cache.status();
    let token = status.usable(now);
    AppStatus {
        appid: app.appid().clone(),
        state,
        token_endpoint: Cow::Borrowed(app.config.endpoint.as_str()),
        generation: token.map(|token| token.generation().get()),
        expires_in: token.map(|token| token.remaining(now).as_secs()),
        in_doubt: status.is_in_doubt(now),
        state_file_broken,
        store: status.store_problem.as_ref().map(|problem| StoreProblem {
            kind: Cow::Borrowed(problem.error.kind().as_str()),
            text: problem.error.to_string(),
            remedy: problem.error.remedy(),
            since: problem.since.get(),
        }),
        error,
    }
}
