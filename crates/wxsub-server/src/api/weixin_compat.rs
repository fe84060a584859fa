//! The Weixin-shaped door: what an existing SDK sees of it is Weixin. Status 200 for everything, `errcode` and `errmsg`
//! for every failure, with codes chosen so that no SDK repeats a send that may have arrived and none asks for ever.

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

/// What has no route: each door has its own way to say so.
pub(crate) async fn unknown(uri: Uri) -> Response {
    match uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        true => v1::not_found(),
        false => WeixinResponse::new(ErrCode::INVALID_URL, "invalid url: not served here").into_response(),
    }
}

/// There is no room for another request.
pub(crate) fn overloaded() -> Response {
    WeixinResponse::new(ErrCode::SYSTEM_BUSY, "server overloaded; retry later").into_response()
}
