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

use self::problem::{Kind, Problem};
use crate::app::App;
use crate::call::{Call, NoBody, bearer};
use crate::client::{AppList, Client, Scope};
use crate::house::House;
use crate::route::limited;

/// `{appid}` as somebody wrote it; what cannot be decoded is no app.
type Named = Result<Path<String>, PathRejection>;

/// Whose key it was, if that is known, and what they are told.
type Denied<'a> = (Option<&'a Client>, Problem);

pub(crate) fn routes() -> Router<Arc<House>> {
    let only_get = limited(|| async {
        Problem::new(Kind::MethodNotAllowed, "this route takes GET only").into_response()
    });
    let only_post = limited(|| async {
        Problem::new(Kind::MethodNotAllowed, "this route takes POST only").into_response()
    });
    Router::new()
        .route("/v1/apps", get(limited(apps::list)).fallback(only_get.clone()))
        .route("/v1/apps/{appid}/access_token", get(limited(token::read)).fallback(only_get))
        .route(
            "/v1/apps/{appid}/access_token/report",
            post(limited(token::report)).fallback(only_post.clone()),
        )
        .route("/v1/apps/{appid}/messages", post(limited(messages::send_one)).fallback(only_post))
}

/// What has no route.
pub(crate) fn unknown() -> Response {
    Problem::new(Kind::NotFound, "there is no such route; /openapi.json lists them").into_response()
}

/// The app that is named, if it can be one.
fn appid(named: &Named) -> Option<AppId> {
    named.as_ref().ok().and_then(|Path(text)| text.parse().ok())
}

/// The client of the request's key, if it has the scope.
fn client(call: &Call, scope: Scope) -> Result<&Client, Denied<'_>> {
    let Some(client) = call.client(bearer(&call.head.headers).as_ref()) else {
        let detail = "send Authorization: Bearer KEY with a key that this server knows";
        return Err((None, Problem::new(Kind::Unauthorized, detail)));
    };
    if client.may(scope) {
        return Ok(client);
    }
    let detail = format!("this key lacks the scope {}", scope.as_str());
    Err((Some(client), Problem::new(Kind::Forbidden, detail)))
}

/// The app of the path, if the key is for it. Whether an app exists is told only to keys that are for all.
fn app<'a>(call: &'a Call, named: &Named, scope: Scope) -> Result<(&'a Client, &'a Arc<App>), Denied<'a>> {
    let client = client(call, scope)?;
    let appid = appid(named);
    if !appid.as_ref().is_some_and(|appid| client.has(appid)) && client.apps != AppList::All {
        return Err((Some(client), Problem::new(Kind::Forbidden, "this key is not for this app")));
    }
    let app = appid.and_then(|appid| call.snapshot.apps.get(&appid));
    app.map(|app| (client, app))
        .ok_or_else(|| (Some(client), Problem::new(Kind::NotFound, "this server has no such app")))
}

fn no_body(reason: NoBody) -> Problem {
    match reason {
        NoBody::TooLarge => {
            Problem::new(Kind::TooLarge, "the body is larger than this server takes; shorten it")
        }
        NoBody::Incomplete => Problem::new(Kind::Incomplete, "the body did not come whole and in time"),
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
