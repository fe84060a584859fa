//! The Weixin-shaped door: what an existing SDK sees of it is Weixin. Status 200 for everything, `errcode` and `errmsg`
//! for every failure, with codes chosen so that no SDK repeats a send that may have arrived and none asks for ever.

mod answer;
mod subscribe;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::{stable_token, subscribe as sends, token as classic};

use self::answer::Answer;
pub use self::answer::MAYBE_SENT;
use crate::house::House;
use crate::native;
use crate::route::{limited, unlimited};

pub(crate) fn routes() -> Router<Arc<House>> {
    let only_get = limited(|| async { Answer::new(ErrCode::new(43001), "require GET method").written() });
    let only_post = limited(|| async { Answer::new(ErrCode::REQUIRE_POST, "require POST method").written() });
    Router::new()
        .route(classic::PATH, get(limited(token::read)).fallback(only_get))
        .route(stable_token::PATH, post(unlimited(token::read_stable)).fallback(only_post.clone()))
        .route(sends::PATH, post(limited(subscribe::send_one)).fallback(only_post))
}

/// What has no route: each door has its own way to say so.
pub(crate) async fn unknown(uri: Uri) -> Response {
    match uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        true => native::unknown(),
        false => Answer::new(ErrCode::INVALID_URL, "invalid url: not served here").written(),
    }
}

/// There is no room for another request.
pub(crate) fn full() -> Response {
    Answer::new(ErrCode::SYSTEM_BUSY, "server overloaded; retry later").written()
}
