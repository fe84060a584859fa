//! The routes that need no key and carry no secret.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use wxsub_proto::{AppId, Remedy};

use crate::api::v1::apps::{AppHealth as AppState, state};
use crate::api::v1::openapi::document;
use crate::middleware::without_concurrency_limit;
use crate::state::ServerState;

pub(crate) fn routes() -> Router<Arc<ServerState>> {
    Router::new()
        .route("/livez", get(without_concurrency_limit(|| async { "ok\n" })))
        .route("/readyz", get(without_concurrency_limit(ready)))
        .route("/openapi.json", get(without_concurrency_limit(openapi)))
}

/// Only `/metrics`: it can be moved elsewhere.
pub(crate) fn metrics_route() -> Router<Arc<ServerState>> {
    Router::new().route("/metrics", get(without_concurrency_limit(metrics)))
}

#[derive(Serialize)]
struct Readiness<'a> {
    status: &'static str,
    /// Those with which something is wrong.
    apps: Vec<Wrong<'a>>,
}

#[derive(Serialize)]
struct Wrong<'a> {
    appid: &'a AppId,
    state: AppState,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Remedy>,
}

async fn ready(State(house): State<Arc<ServerState>>) -> Response {
    let (snapshot, now) = (house.snapshot(), house.clock().now());
    let mut usable = 0;
    let mut apps = Vec::new();
    for app in snapshot.apps.values() {
        let (state, trouble) = state(app, now);
        usable += usize::from(matches!(state, AppState::Ok | AppState::Degraded));
        if state != AppState::Ok {
            apps.push(Wrong { appid: app.appid(), state, remedy: trouble.map(|trouble| trouble.remedy) });
        }
    }
    let status = match usable {
        _ if house.is_draining() => "draining",
        0 => "not ready",
        _ if apps.is_empty() => "ready",
        _ => "degraded",
    };
    let code = match status {
        "ready" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&Readiness { status, apps }).unwrap_or_default();
    text(code, "application/json", body)
}

async fn openapi() -> Response {
    text(StatusCode::OK, "application/json", document())
}

async fn metrics(State(house): State<Arc<ServerState>>) -> Response {
    let snapshot = house.snapshot();
    let apps = snapshot.apps.values().map(|app| &**app);
    match house.metrics().encode(apps, house.clock().now()) {
        Ok(body) => text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
