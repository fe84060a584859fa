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
use crate::apps::SharedState;
use crate::state::audit::{Action, ApiSurface};

/// All routes. `/metrics` is left out if it has a listener of its own.
pub(crate) fn router(state: &SharedState, with_metrics: bool) -> Router {
    let routes = v1_routes(state)
        .merge(weixin_routes(state))
        .fallback(unknown.layer(RouteObserver::new(state, "other")))
        .merge(public_routes(state));
    let routes = if with_metrics { routes.merge(metrics_route(state)) } else { routes };
    routes.with_state(Arc::clone(state))
}

/// The `/metrics` route alone, for a listener of its own.
pub(crate) fn metrics_router(state: &SharedState) -> Router {
    metrics_route(state).with_state(Arc::clone(state))
}

/// The v1 API. Without a ledger, the routes of consents, grants, the outbox and webhooks answer 404.
fn v1_routes(state: &SharedState) -> Router<SharedState> {
    let audited = |path, action| RouteObserver::new(state, path).audited(ApiSurface::V1, action);
    let routes = [
        (path::APPS, "GET", get(v1::apps::list.layer(audited(path::APPS, Action::List)))),
        (path::ACCESS_TOKEN, "GET", get(v1::token::read.layer(audited(path::ACCESS_TOKEN, Action::Read)))),
        (path::REPORT, "POST", post(v1::token::report.layer(audited(path::REPORT, Action::Report)))),
        (path::MESSAGES, "POST", post(v1::messages::send_one.layer(audited(path::MESSAGES, Action::Send)))),
        (
            path::CONSENTS,
            "POST",
            post(v1::consents::issue.layer(audited(path::CONSENTS, Action::IssueConsent))),
        ),
        (
            path::GRANTS,
            "GET, POST",
            get(v1::grants::list.layer(audited(path::GRANTS, Action::ListGrants)))
                .post(v1::grants::record.layer(audited(path::GRANTS, Action::RecordGrant))),
        ),
        (path::GRANT, "DELETE", delete(v1::grants::void.layer(audited(path::GRANT, Action::VoidGrant)))),
        (
            path::OUTBOX_APPS,
            "GET",
            get(v1::outbox::apps.layer(audited(path::OUTBOX_APPS, Action::ReadOutbox))),
        ),
        (
            path::OUTBOX,
            "GET, POST",
            get(v1::outbox::list.layer(audited(path::OUTBOX, Action::ReadOutbox)))
                .post(v1::outbox::enqueue.layer(audited(path::OUTBOX, Action::Enqueue))),
        ),
        (
            path::OUTBOX_MESSAGE,
            "GET, DELETE",
            get(v1::outbox::show.layer(audited(path::OUTBOX_MESSAGE, Action::ReadOutbox)))
                .delete(v1::outbox::cancel.layer(audited(path::OUTBOX_MESSAGE, Action::Cancel))),
        ),
        (path::DECISION, "POST", post(v1::decision::decide.layer(audited(path::DECISION, Action::Decide)))),
        (path::PAUSE, "POST", post(v1::decision::pause.layer(audited(path::PAUSE, Action::Pause)))),
        (path::RESUME, "POST", post(v1::decision::resume.layer(audited(path::RESUME, Action::Resume)))),
        (path::WEBHOOKS, "GET", get(v1::webhooks::list.layer(audited(path::WEBHOOKS, Action::ListWebhooks)))),
        (
            path::REDELIVER,
            "POST",
            post(v1::webhooks::redeliver.layer(audited(path::REDELIVER, Action::Redeliver))),
        ),
    ];
    routes.into_iter().fold(Router::new(), |router, (path, methods, handlers)| {
        let wrong_method = move || async move { v1::wrong_method(methods) };
        router.route(path, handlers.fallback(wrong_method.layer(RouteObserver::new(state, path))))
    })
}

/// The Weixin-compatible API.
fn weixin_routes(state: &SharedState) -> Router<SharedState> {
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
            post(weixin_compat::token::read.layer(audited(stable_token::PATH, Action::Read)))
                .fallback(weixin_compat::only_post.layer(observed(stable_token::PATH))),
        )
        .route(
            subscribe::PATH,
            post(weixin_compat::subscribe::send_one.layer(audited(subscribe::PATH, Action::Send)))
                .fallback(weixin_compat::only_post.layer(observed(subscribe::PATH))),
        )
}

/// The routes of operators. They need no key.
fn public_routes(state: &SharedState) -> Router<SharedState> {
    Router::new()
        .route(path::LIVEZ, get(public::liveness.layer(RouteObserver::new(state, path::LIVEZ))))
        .route(path::READYZ, get(public::readiness.layer(RouteObserver::new(state, path::READYZ))))
        .route(path::OPENAPI, get(openapi::openapi.layer(RouteObserver::new(state, path::OPENAPI))))
}

fn metrics_route(state: &SharedState) -> Router<SharedState> {
    Router::new().route(path::METRICS, get(public::metrics.layer(RouteObserver::new(state, path::METRICS))))
}

/// The response for a path without a route, in the format of the API that the path belongs to.
async fn unknown(uri: Uri) -> Response {
    match uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        true => v1::not_found().into_response(),
        false => weixin_compat::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use axum::body::Body;
    use axum::http::Request;
    use futures_util::FutureExt;
    use tower_service::Service;
    use wxsub_api::ApiKey;
    use wxsub_core::clock::Clock;
    use wxsub_core::store::MemoryStore;
    use wxsub_core::testing::ManualClock;
    use wxsub_core::token::AttemptLimit;
    use wxsub_outbox::{Ledger, MemoryLedger};

    use super::*;
    use crate::apps::{ServerState, Services};
    use crate::config::ApiKeyDigest;
    use crate::config::tests::{read, with_app};
    use crate::state::audit::tests::on_full_disk;
    use crate::state::metrics::Metrics;

    #[tokio::test]
    async fn change_that_a_required_audit_cannot_record_is_not_made() {
        let (state, ledger) = state_on_full_disk();
        state.run_worker();
        let response = router(&state, true).call(pause("a")).await.unwrap();
        let appid = state.snapshot().apps.keys().next().cloned().unwrap();
        let app = ledger.app(&appid).await.unwrap();
        assert_eq!((response.status().as_u16(), app.pauses.operator), (503, None));
    }

    #[tokio::test]
    async fn change_without_a_known_key_has_no_task() {
        let (state, _) = state_on_full_disk();
        let mut router = router(&state, true);
        let mut pausing = Box::pin(router.call(pause("z")));
        let response = pausing.as_mut().now_or_never();
        assert!(state.tasks.is_empty());
        let response = match response {
            Some(response) => response,
            None => pausing.await,
        };
        assert_eq!(response.unwrap().status().as_u16(), 401);
    }

    /// A request to pause the app, with the key of this letter.
    fn pause(letter: &str) -> Request<Body> {
        let request = Request::post("/v1/apps/wx0000000000000001/outbox/pause");
        let key = letter.repeat(ApiKey::LENGTH);
        request.header("Authorization", format!("Bearer {key}")).body(Body::empty()).unwrap()
    }

    /// A server whose audit is required and cannot be written. The key of the letter `a` may pause all apps.
    fn state_on_full_disk() -> (SharedState, Arc<MemoryLedger>) {
        let key = "a".repeat(ApiKey::LENGTH);
        let digest = ApiKeyDigest::of(&key.parse().unwrap());
        let client =
            format!("name = \"a\"\nkey_sha256 = \"{digest}\"\napps = [\"*\"]\nscopes = [\"outbox:decide\"]");
        let text = format!("[ledger]\nurl = \"sqlite:/unused\"\n[[clients]]\n{client}\n");
        let config = read(&with_app(&text)).unwrap().0;
        let clock = Arc::new(ManualClock::new());
        let ledger = Arc::new(MemoryLedger::with_clock(clock.clone()));
        let clock: Arc<dyn Clock> = clock;
        let services = Services {
            clock: Arc::clone(&clock),
            store: Arc::new(MemoryStore::private(Arc::clone(&clock))),
            fallback: None,
            metrics: Arc::new(Metrics::new(&clock)),
            transport: None,
            attempt_limit: AttemptLimit::new(1),
            ledger: Some(ledger.clone()),
        };
        let audit = on_full_disk(&clock);
        (Arc::new(ServerState::new(&config, services, audit, HashSet::new(), None)), ledger)
    }
}
