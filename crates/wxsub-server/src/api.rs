//! The routes of the server, and what surrounds every handler: duration metrics and the audit line.

pub(crate) mod client_address;
mod observer;
mod openapi;
mod policy;
pub(crate) mod public;
mod request;
mod v1;
pub(crate) mod weixin_compat;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use wxsub_api::path;
use wxsub_proto::endpoint::{stable_token, subscribe, token};

use self::observer::RouteObserver;
pub(crate) use self::request::LateResponse;
use crate::apps::ServerState;
use crate::state::audit::{Action, ApiSurface};

/// All routes. `/metrics` is left out if it has a listener of its own.
pub(crate) fn router(state: &Arc<ServerState>, with_metrics: bool) -> Router {
    let routes = v1_routes(state)
        .merge(ledger_routes(state))
        .merge(weixin_routes(state))
        .fallback(unknown.layer(RouteObserver::new(state, "other")))
        .merge(public_routes(state));
    let routes = if with_metrics { routes.merge(metrics_route(state)) } else { routes };
    routes.with_state(Arc::clone(state))
}

/// The `/metrics` route alone, for a listener of its own.
pub(crate) fn metrics_router(state: &Arc<ServerState>) -> Router {
    metrics_route(state).with_state(Arc::clone(state))
}

/// The v1 API.
fn v1_routes(state: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    let observed = |path| RouteObserver::new(state, path);
    let audited = |path, action| observed(path).audited(ApiSurface::V1, action);
    Router::new()
        .route(
            path::APPS,
            get(v1::apps::list.layer(audited(path::APPS, Action::List)))
                .fallback(v1::only_get.layer(observed(path::APPS))),
        )
        .route(
            path::ACCESS_TOKEN,
            get(v1::token::read.layer(audited(path::ACCESS_TOKEN, Action::Read)))
                .fallback(v1::only_get.layer(observed(path::ACCESS_TOKEN))),
        )
        .route(
            path::REPORT,
            post(v1::token::report.layer(audited(path::REPORT, Action::Report)))
                .fallback(v1::only_post.layer(observed(path::REPORT))),
        )
        .route(
            path::MESSAGES,
            post(v1::messages::send_one.layer(audited(path::MESSAGES, Action::Send)))
                .fallback(v1::only_post.layer(observed(path::MESSAGES))),
        )
}

/// The routes of consents, grants, the outbox and its webhooks.
fn ledger_routes(state: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    let observed = |path| RouteObserver::new(state, path);
    let audited = |path, action| observed(path).audited(ApiSurface::V1, action);
    Router::new()
        .route(
            path::CONSENTS,
            post(v1::consents::issue.layer(audited(path::CONSENTS, Action::IssueConsent)))
                .fallback(v1::only_post.layer(observed(path::CONSENTS))),
        )
        .route(
            path::GRANTS,
            post(v1::grants::record.layer(audited(path::GRANTS, Action::RecordGrant)))
                .get(v1::grants::list.layer(audited(path::GRANTS, Action::ListGrants)))
                .fallback(v1::only_get_and_post.layer(observed(path::GRANTS))),
        )
        .route(
            path::GRANT,
            delete(v1::grants::void.layer(audited(path::GRANT, Action::VoidGrant)))
                .fallback(v1::only_delete.layer(observed(path::GRANT))),
        )
        .route(
            path::OUTBOX,
            post(v1::outbox::enqueue.layer(audited(path::OUTBOX, Action::Enqueue)))
                .get(v1::outbox::list.layer(audited(path::OUTBOX, Action::ReadOutbox)))
                .fallback(v1::only_get_and_post.layer(observed(path::OUTBOX))),
        )
        .route(
            path::OUTBOX_MESSAGE,
            get(v1::outbox::show.layer(audited(path::OUTBOX_MESSAGE, Action::ReadOutbox)))
                .delete(v1::outbox::cancel.layer(audited(path::OUTBOX_MESSAGE, Action::Cancel)))
                .fallback(v1::only_get_and_delete.layer(observed(path::OUTBOX_MESSAGE))),
        )
        .route(
            path::DECISION,
            post(v1::decision::decide.layer(audited(path::DECISION, Action::Decide)))
                .fallback(v1::only_post.layer(observed(path::DECISION))),
        )
        .route(
            path::PAUSE,
            post(v1::decision::pause.layer(audited(path::PAUSE, Action::Pause)))
                .fallback(v1::only_post.layer(observed(path::PAUSE))),
        )
        .route(
            path::WEBHOOKS,
            get(v1::webhooks::list.layer(audited(path::WEBHOOKS, Action::ListWebhooks)))
                .fallback(v1::only_get.layer(observed(path::WEBHOOKS))),
        )
        .route(
            path::REDELIVER,
            post(v1::webhooks::redeliver.layer(audited(path::REDELIVER, Action::Redeliver)))
                .fallback(v1::only_post.layer(observed(path::REDELIVER))),
        )
        .route(
            path::RESUME,
            post(v1::decision::resume.layer(audited(path::RESUME, Action::Resume)))
                .fallback(v1::only_post.layer(observed(path::RESUME))),
        )
}

/// The Weixin-compatible API.
fn weixin_routes(state: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    let observed = |path| RouteObserver::new(state, path);
    let audited = |path, action| observed(path).audited(ApiSurface::Weixin, action);
    Router::new()
        .route(
            token::PATH,
            get(weixin_compat::token::read.layer(audited(token::PATH, Action::Read)))
                .fallback(weixin_compat::only_get.layer(observed(token::PATH))),
        )
        .route(
            stable_token::PATH,
            post(weixin_compat::token::read_stable.layer(audited(stable_token::PATH, Action::Read)))
                .fallback(weixin_compat::only_post.layer(observed(stable_token::PATH))),
        )
        .route(
            subscribe::PATH,
            post(weixin_compat::subscribe::send_one.layer(audited(subscribe::PATH, Action::Send)))
                .fallback(weixin_compat::only_post.layer(observed(subscribe::PATH))),
        )
}

/// The routes of operators. They need no key.
fn public_routes(state: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    Router::new()
        .route(path::LIVEZ, get(public::liveness.layer(RouteObserver::new(state, path::LIVEZ))))
        .route(path::READYZ, get(public::readiness.layer(RouteObserver::new(state, path::READYZ))))
        .route(path::OPENAPI, get(openapi::openapi.layer(RouteObserver::new(state, path::OPENAPI))))
}

fn metrics_route(state: &Arc<ServerState>) -> Router<Arc<ServerState>> {
    Router::new().route(path::METRICS, get(public::metrics.layer(RouteObserver::new(state, path::METRICS))))
}

/// The response for a path without a route, in the format of the API that the path belongs to.
async fn unknown(uri: Uri) -> Response {
    match uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        true => v1::not_found().into_response(),
        false => weixin_compat::not_found().into_response(),
    }
}
