//! The native door: `/v1`, with a key in `Authorization: Bearer`.

pub(crate) mod apps;
mod messages;
pub(crate) mod openapi;
pub(crate) mod problem;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use wxsub_proto::AppId;

use self::problem::{Problem, ProblemKind};
use crate::app::ManagedApp;
use crate::client::{ApiClient, AppAccess, Scope};
use crate::context::{BodyError, RequestContext, bearer};
use crate::middleware::with_concurrency_limit;
use crate::state::ServerState;

/// `{appid}` as somebody wrote it; what cannot be decoded is no app.
type AppIdPath = Result<Path<String>, PathRejection>;

/// Whose key it was, if that is known, and what they are told.
type AuthRejection<'a> = (Option<&'a ApiClient>, Problem);

pub(crate) fn routes() -> Router<Arc<ServerState>> {
    let only_get = with_concurrency_limit(|| async {
        Problem::new(ProblemKind::MethodNotAllowed, "this route takes GET only").into_response()
    });
    let only_post = with_concurrency_limit(|| async {
        Problem::new(ProblemKind::MethodNotAllowed, "this route takes POST only").into_response()
    });
    Router::new()
        .route("/v1/apps", get(with_concurrency_limit(apps::list)).fallback(only_get.clone()))
        .route("/v1/apps/{appid}/access_token", get(with_concurrency_limit(token::read)).fallback(only_get))
        .route(
            "/v1/apps/{appid}/access_token/report",
            post(with_concurrency_limit(token::report)).fallback(only_post.clone()),
        )
        .route(
            "/v1/apps/{appid}/messages",
            post(with_concurrency_limit(messages::send_one)).fallback(only_post),
        )
}

/// What has no route.
pub(crate) fn not_found() -> Response {
    Problem::new(ProblemKind::NotFound, "there is no such route; /openapi.json lists them").into_response()
}

/// The app that is named, if it can be one.
fn appid(named: &AppIdPath) -> Option<AppId> {
    named.as_ref().ok().and_then(|Path(text)| text.parse().ok())
}

/// The client of the request's key, if it has the scope.
fn client(call: &RequestContext, scope: Scope) -> Result<&ApiClient, AuthRejection<'_>> {
    let Some(client) = call.client(bearer(&call.head.headers).as_ref()) else {
        let detail = "send Authorization: Bearer KEY with a key that this server knows";
        return Err((None, Problem::new(ProblemKind::Unauthorized, detail)));
    };
    if client.has_scope(scope) {
        return Ok(client);
    }
    let detail = format!("this key lacks the scope {}", scope.as_str());
    Err((Some(client), Problem::new(ProblemKind::Forbidden, detail)))
}

/// The app of the path, if the key is for it. Whether an app exists is told only to keys that are for all.
fn app<'a>(
    call: &'a RequestContext,
    named: &AppIdPath,
    scope: Scope,
) -> Result<(&'a ApiClient, &'a Arc<ManagedApp>), AuthRejection<'a>> {
    let client = client(call, scope)?;
    let appid = appid(named);
    if !appid.as_ref().is_some_and(|appid| client.can_access(appid)) && client.apps != AppAccess::All {
        return Err((Some(client), Problem::new(ProblemKind::Forbidden, "this key is not for this app")));
    }
    let app = appid.and_then(|appid| call.snapshot.apps.get(&appid));
    app.map(|app| (client, app))
        .ok_or_else(|| (Some(client), Problem::new(ProblemKind::NotFound, "this server has no such app")))
}

fn no_body(reason: BodyError) -> Problem {
    match reason {
        BodyError::TooLarge => {
            Problem::new(ProblemKind::TooLarge, "the body is larger than this server takes; shorten it")
        }
        BodyError::Incomplete => {
            Problem::new(ProblemKind::Incomplete, "the body did not come whole and in time")
        }
    }
}

/// A JSON answer that nobody keeps.
fn json(value: &impl Serialize) -> Response {
    // Room for a token of today's length, so that nothing is moved while it is written.
    let mut text = Vec::with_capacity(512);
    if serde_json::to_writer(&mut text, value).is_err() {
        text.clear();
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
