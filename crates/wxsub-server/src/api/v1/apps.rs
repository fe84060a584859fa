//! `GET /v1/apps`: the problems of the server and the health of each app, for operators.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wxsub_api::{AppList, Problem};

use super::members::Members;
use super::{ProblemResponse, bearer};
use crate::api::policy::authorize;
use crate::api::request::{Json, RequestContext};
use crate::apps::ServerState;
use crate::config::ApiClient;
use crate::state::audit::Action;

/// A client with the scope `admin`. An axum extractor.
#[derive(Debug)]
pub(in crate::api) struct Operator {
    pub(super) context: RequestContext,
    pub(super) client: Arc<ApiClient>,
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
        context.admit().await?;
        Members::of_query(parts).finish(Some(()))?;
        Ok(Self { context, client })
    }
}

#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    summary = "The problems of the server, and the health of the apps of the key; needs admin",
    security(("key" = [])),
    responses(
        (status = 200, body = AppList, description = "The problems of the server and the health of each app, without secrets"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
        (status = 422, body = Problem, description = "Invalid: see problems"),
    )
)]
pub(in crate::api) async fn list(Operator { context, client }: Operator) -> Json<AppList> {
    context.audit(|entry| entry.outcome = "ok");
    let state = context.state();
    let apps = state.app_statuses(context.snapshot()).filter(|app| client.can_access(&app.appid));
    Json(AppList { problems: state.problems(), apps: apps.collect() })
}
