//! Health and metrics: routes that need no key and return no secret.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use wxsub_api::{AppHealth, LedgerHealth, Readiness, ReadinessStatus, UnhealthyApp};
use wxsub_proto::AppId;

use super::request::response;
use crate::apps::{ServerState, SharedState};

/// How long `/metrics` waits for the ledger.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /livez`.
pub(super) async fn liveness() -> &'static str {
    "ok\n"
}

/// `GET /readyz`.
pub(super) async fn readiness(State(state): State<SharedState>) -> Response {
    let computing = Arc::clone(&state);
    let (is_ready, text) = state.readiness.get(state.clock(), move || current_readiness(&computing)).await;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", text)
}

fn current_readiness(state: &ServerState) -> (bool, Bytes) {
    let mut usable = 0;
    let mut apps = Vec::new();
    for app in state.app_statuses(&state.snapshot()) {
        usable += usize::from(matches!(app.state, AppHealth::Ok | AppHealth::Degraded));
        if app.state != AppHealth::Ok {
            let remedy = app.error.map(|error| error.remedy);
            apps.push(UnhealthyApp { appid: app.appid, state: app.state, remedy });
        }
    }
    let ledger = state.is_ledger_up().map(|is_up| if is_up { LedgerHealth::Up } else { LedgerHealth::Down });
    let status = match usable {
        _ if state.is_draining() => ReadinessStatus::Draining,
        0 => ReadinessStatus::NotReady,
        _ if apps.is_empty() && ledger != Some(LedgerHealth::Down) => ReadinessStatus::Ready,
        _ => ReadinessStatus::Degraded,
    };
    let readiness =
        Readiness { status, apps, ledger, disabled_webhooks: state.metrics().disabled_endpoints() };
    let text = serde_json::to_vec(&readiness).unwrap_or_default();
    (status.is_ready(), text.into())
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): State<SharedState>) -> Response {
    let encoding = Arc::clone(&state);
    match state.metrics_text.get(state.clock(), move || encode_metrics(&encoding)).await {
        Some(text) => {
            response(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Blocks while it reads the ledger.
fn encode_metrics(state: &ServerState) -> Option<Bytes> {
    let before = state.clock().now().mono + LEDGER_TIMEOUT;
    let outbox = Handle::current().block_on(state.outbox_status(before));
    let snapshot = state.snapshot();
    if let Some(tls) = &snapshot.tls {
        state.metrics().record_certificate(tls.valid_until);
    }
    let now = state.clock().now();
    let gauges = snapshot.apps.values().map(|app| app.gauges(now)).collect();
    let senders = move |appid: &AppId| {
        let senders = snapshot.clients.iter().filter(|client| client.config.can_send(appid));
        senders.map(|client| client.config.name.clone()).collect()
    };
    let encoded = state.metrics().encode(gauges, Box::new(senders), &state.limits_used(), outbox);
    encoded.ok().map(Bytes::from)
}
