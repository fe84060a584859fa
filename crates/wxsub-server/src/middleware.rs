//! What all routes have in common: how long their answers take is measured, and behind the doors there are no more requests
//! at a time than the limit says. It is done around handlers and not in layers, each of which costs allocations for every
//! request.

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

/// A handler of a route.
#[derive(Debug, Clone)]
pub(crate) struct Instrumented<H> {
    handler: H,
    limited: bool,
}

/// Behind a door.
pub(crate) fn with_concurrency_limit<H>(handler: H) -> Instrumented<H> {
    Instrumented { handler, limited: true }
}

/// For whoever looks after the server, however full it is; and where a place is taken later.
pub(crate) fn without_concurrency_limit<H>(handler: H) -> Instrumented<H> {
    Instrumented { handler, limited: false }
}

impl<T, H: Handler<T, Arc<ServerState>>> Handler<T, Arc<ServerState>> for Instrumented<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, house: Arc<ServerState>) -> Self::Future {
        let began = house.clock().now().mono;
        let route = request.extensions().get::<MatchedPath>().cloned();
        let in_flight = if self.limited { house.try_acquire_permit().map(Some) } else { Some(None) };
        let answer = match in_flight {
            Some(in_flight) => Ok((self.handler.call(request, Arc::clone(&house)), in_flight)),
            None => Err(overloaded(request.uri().path())),
        };
        Box::pin(async move {
            let response = match answer {
                Ok((answer, _in_flight)) => answer.await,
                Err(full) => full,
            };
            let took = house.clock().now().mono.duration_since(began);
            let route = route.as_ref().map_or("other", MatchedPath::as_str);
            house.metrics().answered(route, response.status().as_u16(), took);
            response
        })
    }
}

/// There is no room for another request.
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
