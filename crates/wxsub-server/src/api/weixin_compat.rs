//! The Weixin-compatible API, for existing SDKs.
//!
//! Every response has status 200. Every failure has `errcode` and `errmsg`. The codes are chosen so that SDKs do not repeat a
//! send that may have arrived, and do not retry endlessly.

mod response;
mod subscribe;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::{stable_token, subscribe as sends, token as classic};

pub use self::response::MAYBE_SENT;
use self::response::WeixinResponse;
use crate::api::v1;
use crate::middleware::{with_concurrency_limit, without_concurrency_limit};
use crate::state::ServerState;

pub(crate) fn routes() -> Router<Arc<ServerState>> {
    let only_get = with_concurrency_limit(|| async {
        WeixinResponse::new(ErrCode::new(43001), "require GET method").into_response()
    });
    let only_post = with_concurrency_limit(|| async {
        WeixinResponse::new(ErrCode::REQUIRE_POST, "require POST method").into_response()
    });
    Router::new()
        .route(classic::PATH, get(with_concurrency_limit(token::read)).fallback(only_get))
        .route(
            stable_token::PATH,
            post(without_concurrency_limit(token::read_stable)).fallback(only_post.clone()),
        )
        .route(sends::PATH, post(with_concurrency_limit(subscribe::send_one)).fallback(only_post))
}

/// The response for a path without a route, in the format of the API that the path belongs to.
pub(crate) async fn unknown(uri: Uri) -> Response {
    match uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        true => v1::not_found(),
        false => WeixinResponse::new(ErrCode::INVALID_URL, "invalid url: this server does not serve it")
            .into_response(),
    }
}

/// The response when the limit of concurrent requests is reached.
pub(crate) fn overloaded() -> Response {
    WeixinResponse::new(ErrCode::SYSTEM_BUSY, "server overloaded; retry later").into_response()
}
