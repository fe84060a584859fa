//! The v1 API under `/v1`. A request carries its key in `Authorization: Bearer`.

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

/// `{appid}` of the path. A text that cannot be decoded names no app.
type AppIdPath = Result<Path<String>, PathRejection>;

/// A rejected request: the client of the key, if it is known, and the response.
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

/// The response for a path without a route.
pub(crate) fn not_found() -> Response {
    Problem::new(ProblemKind::NotFound, "there is no such route; /openapi.json lists them").into_response()
}

/// The AppID of the path, if it is valid.
fn parse_appid(path: &AppIdPath) -> Option<AppId> {
    path.as_ref().ok().and_then(|Path(text)| text.parse().ok())
}

/// The client of the request's key, if it has the scope.
fn authenticate(context: &RequestContext, scope: Scope) -> Result<&ApiClient, AuthRejection<'_>> {
    let Some(client) = context.client(bearer(&context.head.headers).as_ref()) else {
        let detail = "no known key; send Authorization: Bearer KEY with a key that this server knows";
        return Err((None, Problem::new(ProblemKind::Unauthorized, detail)));
    };
    if client.has_scope(scope) {
        return Ok(client);
    }
    let detail = format!(
        "this key lacks the scope {}; add it to the client in the server's configuration",
        scope.as_str()
    );
    Err((Some(client), Problem::new(ProblemKind::Forbidden, detail)))
}

/// The app of the path, if the key may use it.
///
/// Only a key for all apps gets "not found". Other keys cannot learn which apps exist.
fn authorize<'a>(
    context: &'a RequestContext,
    path: &AppIdPath,
    scope: Scope,
) -> Result<(&'a ApiClient, &'a Arc<ManagedApp>), AuthRejection<'a>> {
    let client = authenticate(context, scope)?;
    let appid = parse_appid(path);
    if !appid.as_ref().is_some_and(|appid| client.can_access(appid)) && client.apps != AppAccess::All {
        return Err((Some(client), Problem::new(ProblemKind::Forbidden, "this key may not use this app")));
    }
    let app = appid.and_then(|appid| context.snapshot.apps.get(&appid));
    app.map(|app| (client, app)).ok_or_else(|| {
        (Some(client), Problem::new(ProblemKind::NotFound, "the app is not configured on this server"))
    })
}

fn body_problem(reason: BodyError) -> Problem {
    match reason {
        BodyError::TooLarge => {
            Problem::new(ProblemKind::TooLarge, "the body exceeds this server's limit; shorten it")
        }
        BodyError::Incomplete => Problem::new(
            ProblemKind::Incomplete,
            "the body was not received completely in time; send it again",
        ),
    }
}

/// A JSON response that must not be cached.
fn json(value: &impl Serialize) -> Response {
    // Fits a token of today's length without reallocation.
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
