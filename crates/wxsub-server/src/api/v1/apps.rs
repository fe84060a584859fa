//! `GET /v1/apps`: the problems of the server and the health of each app, for operators.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wxsub_api::{AppList, AppOutbox, AppStatus};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::view::AppView;
use wxsub_proto::AppId;

use super::members::Members;
use super::{ProblemResponse, admit, bearer};
use crate::api::policy::authorize;
use crate::api::request::{Json, RequestContext};
use crate::apps::{ServerState, SharedState};
use crate::config::ApiClient;
use crate::state::metrics::OutboxStatus;

/// How long the list waits for the ledger. What it does not tell by then is left out.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The client of the request's key, which has the scopes of the request. An axum extractor.
pub(in crate::api) struct ScopedClient {
    pub(super) context: RequestContext,
    pub(super) client: Arc<ApiClient>,
}

impl FromRequestParts<SharedState> for ScopedClient {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        let action = context.action();
        let client = authorize(&context, bearer(&parts.headers), action)
            .map_err(|denial| ProblemResponse::denied(denial, action))?;
        admit(&context).await?;
        Members::of_query(parts).finish(Some(()))?;
        Ok(Self { context, client })
    }
}

#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    summary = "The problems of the server, and the health of the apps of the key; needs admin",
    responses(
        (status = 200, body = AppList, description = "The problems of the server and the health of each app, without secrets")
    )
)]
pub(in crate::api) async fn list(ScopedClient { context, client }: ScopedClient) -> Json<AppList> {
    let state = context.state();
    let mut outboxes = outboxes(state).await;
    context.audit(|entry| entry.outcome = "ok");
    let apps = state.app_statuses(context.snapshot()).filter(|app| client.can_access(&app.appid));
    let apps = apps.map(|app| AppStatus { outbox: outboxes.remove(&app.appid), ..app });
    let problems = state.ledger_problem().into_iter().chain(state.problems());
    Json(AppList { problems: problems.collect(), apps: apps.collect() })
}

/// The outbox of each app, as far as the ledger responds in time.
async fn outboxes(state: &ServerState) -> HashMap<AppId, AppOutbox> {
    let before = state.clock().now().mono + LEDGER_TIMEOUT;
    let Some(OutboxStatus { apps, now, .. }) = state.outbox_status(before).await else {
        return HashMap::new();
    };
    let outbox = |(appid, app, first_due_at): (AppId, StoredApp, Option<UnixMillis>)| {
        let view = AppView::new(appid.clone(), &app, now);
        let first_due_at = first_due_at.filter(|due_at| *due_at <= now);
        let outbox = AppOutbox {
            queued: view.counts.get(&MessageState::Queued).copied().unwrap_or_default(),
            undecided: view.undecided,
            waiting_for: view.waiting_for.map(|waiting_for| waiting_for.as_str().into()),
            waits_until: view.waits_until.map(rfc3339::format),
            next_probe_at: view.next_probe_at.map(rfc3339::format),
            paused_by: view.paused_by,
            paused_at: view.paused_at.map(rfc3339::format),
            note: view.note,
            oldest_due_s: first_due_at.map(|due_at| now.since(due_at).as_secs()),
        };
        (appid, outbox)
    };
    apps.into_iter().map(outbox).collect()
}
