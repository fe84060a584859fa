//! Measures the duration of every response, and limits concurrent requests to the APIs.
//!
//! This wraps handlers instead of using layers, because each layer allocates for every request.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use wxsub_proto::Remedy;

use crate::api::v1::problem::{Problem, ProblemKind};
use crate::api::weixin_compat;
use crate::send_result::SendResult;
use crate::state::ServerState;

/// A handler with metrics and an optional concurrency limit.
#[derive(Debug, Clone)]
pub(crate) struct Instrumented<H> {
    handler: H,
    is_limited: bool,
}

/// For the routes of the APIs.
pub(crate) fn with_concurrency_limit<H>(handler: H) -> Instrumented<H> {
    Instrumented { handler, is_limited: true }
}

/// For the routes of operators, which work under overload too, and for handlers that take the permit later.
pub(crate) fn without_concurrency_limit<H>(handler: H) -> Instrumented<H> {
    Instrumented { handler, is_limited: false }
}

impl<T, H: Handler<T, Arc<ServerState>>> Handler<T, Arc<ServerState>> for Instrumented<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: Arc<ServerState>) -> Self::Future {
        let started_at = state.clock().now().mono;
        let route = request.extensions().get::<MatchedPath>().cloned();
        let permit = if self.is_limited { state.try_acquire_permit().map(Some) } else { Some(None) };
        let response = match permit {
            Some(permit) => Ok((self.handler.call(request, Arc::clone(&state)), permit)),
            None => Err(overloaded(request.uri().path())),
        };
        Box::pin(async move {
            let response = match response {
                Ok((response, _permit)) => response.await,
                Err(overloaded) => overloaded,
            };
            let elapsed = state.clock().now().mono.duration_since(started_at);
            let route = route.as_ref().map_or("other", MatchedPath::as_str);
            state.metrics().record_response(route, response.status().as_u16(), elapsed);
            response
        })
    }
}

/// The response when the limit of concurrent requests is reached.
fn overloaded(path: &str) -> Response {
    if path.starts_with("/v1/") {
        let problem = Problem::new(ProblemKind::Overloaded, "server overloaded; retry later");
        let problem = problem.retry_after(Duration::from_secs(1));
        return match path.ends_with("/messages") {
            true => problem.with_result(SendResult::not_tried(Remedy::SlowDown)).into_response(),
            false => problem.into_response(),
        };
    }
    weixin_compat::overloaded()
}
