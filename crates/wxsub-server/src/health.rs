//! Health, metrics and the OpenAPI document: routes that need no key and return no secret.

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

use crate::api::v1::apps::{AppHealth, health};
use crate::api::v1::openapi::document;
use crate::middleware::without_concurrency_limit;
use crate::state::ServerState;

pub(crate) fn routes() -> Router<Arc<ServerState>> {
    Router::new()
        .route("/livez", get(without_concurrency_limit(|| async { "ok\n" })))
        .route("/readyz", get(without_concurrency_limit(readiness)))
        .route("/openapi.json", get(without_concurrency_limit(openapi)))
}

/// The `/metrics` route. `metrics_listen` moves it to a listener of its own.
pub(crate) fn metrics_route() -> Router<Arc<ServerState>> {
    Router::new().route("/metrics", get(without_concurrency_limit(metrics)))
}

#[derive(Serialize)]
struct Readiness<'a> {
    status: &'static str,
    /// The apps that are not healthy.
    apps: Vec<UnhealthyApp<'a>>,
}

#[derive(Serialize)]
struct UnhealthyApp<'a> {
    appid: &'a AppId,
    state: AppHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Remedy>,
}

async fn readiness(State(state): State<Arc<ServerState>>) -> Response {
    let (snapshot, now) = (state.snapshot(), state.clock().now());
    let mut usable = 0;
    let mut apps = Vec::new();
    for app in snapshot.apps.values() {
        let (state, error) = health(app, now);
        usable += usize::from(matches!(state, AppHealth::Ok | AppHealth::Degraded));
        if state != AppHealth::Ok {
            apps.push(UnhealthyApp { appid: app.appid(), state, remedy: error.map(|error| error.remedy) });
        }
    }
    let status = match usable {
        _ if state.is_draining() => "draining",
        0 => "not ready",
        _ if apps.is_empty() => "ready",
        _ => "degraded",
    };
    let status_code = match status {
        "ready" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&Readiness { status, apps }).unwrap_or_default();
    response(status_code, "application/json", body)
}

async fn openapi() -> Response {
    response(StatusCode::OK, "application/json", document())
}

async fn metrics(State(state): State<Arc<ServerState>>) -> Response {
    let snapshot = state.snapshot();
    let apps = snapshot.apps.values().map(|app| &**app);
    match state.metrics().encode(apps, state.clock().now()) {
        Ok(body) => {
            response(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body)
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
