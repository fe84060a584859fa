//! The layer around every handler: it measures the response and writes the audit line.
//!
//! It wraps handlers with [`Handler::layer`](axum::handler::Handler::layer) and not routes: a layer of a route would allocate
//! three times for every request.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use prometheus_client::metrics::histogram::Histogram;
use tower_layer::Layer;
use tower_service::Service;
use wxsub_core::clock::MonotonicInstant;

use super::request::{LateResponse, RequestContext};
use super::{v1, weixin_compat};
use crate::apps::SharedState;
use crate::state::audit::{Action, ApiSurface, Unrecorded};

/// What surrounds the handler of one route.
#[derive(Clone)]
pub(super) struct RouteObserver {
    state: SharedState,
    /// The path of the route, as the label of its metrics.
    route: &'static str,
    audit: Option<(ApiSurface, Action)>,
    /// The durations of responses with status 200. Looked up once.
    ok_durations: Arc<OnceLock<Histogram>>,
}

impl RouteObserver {
    /// Measures responses under this label.
    pub(super) fn new(state: &SharedState, route: &'static str) -> Self {
        let (state, ok_durations) = (Arc::clone(state), Arc::default());
        Self { state, route, audit: None, ok_durations }
    }

    /// Also writes an audit line for each request.
    pub(super) fn audited(self, api: ApiSurface, action: Action) -> Self {
        Self { audit: Some((api, action)), ..self }
    }

    fn measure(&self, started_at: MonotonicInstant, response: &Response) {
        let (status, metrics) = (response.status().as_u16(), self.state.metrics());
        let elapsed = self.state.clock().now().mono.duration_since(started_at).as_secs_f64();
        match status {
            200 => self.ok_durations.get_or_init(|| metrics.durations(self.route, status)).observe(elapsed),
            _ => metrics.durations(self.route, status).observe(elapsed),
        }
    }

    /// Whether the request changes something.
    fn is_change(&self) -> bool {
        self.audit.is_some_and(|(_, action)| action.is_change())
    }

    /// Records the audit line, if the handler has left it. A required line that cannot be recorded changes the response; not that to a
    /// change, which is made, and whose start is recorded.
    async fn record(&self, response: Response, context: Option<&RequestContext>) -> Response {
        let Some(line) = context.and_then(RequestContext::take_audit) else { return response };
        let (must_be_recorded, api) = (!line.is_refused() && !self.is_change(), line.api);
        match (self.state.audit().record(line).await, api) {
            (Err(Unrecorded), ApiSurface::V1) if must_be_recorded => v1::unrecorded(),
            (Err(Unrecorded), ApiSurface::Weixin) if must_be_recorded => weixin_compat::unrecorded(),
            _ => response,
        }
    }
}

impl<S> Layer<S> for RouteObserver {
    type Service = ObservedHandler<S>;

    fn layer(&self, handler: S) -> ObservedHandler<S> {
        ObservedHandler { handler, observer: self.clone() }
    }
}

/// A handler with its [`RouteObserver`].
#[derive(Clone)]
pub(super) struct ObservedHandler<S> {
    handler: S,
    observer: RouteObserver,
}

impl<S> Service<Request> for ObservedHandler<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let observer = self.observer.clone();
        let started_at = observer.state.clock().now().mono;
        let begin = |(api, action)| RequestContext::begin(&observer.state, &mut request, api, action);
        let context = observer.audit.map(begin);
        let response = self.handler.call(request);
        let tasks = observer.is_change().then(|| observer.state.tasks.clone());
        let handling = async move {
            let Ok(response) = response.await;
            let mut response = observer.record(response, context.as_ref()).await;
            observer.measure(started_at, &response);
            let context = context.as_ref();
            if let Some(late) = context.map_or(Some(LateResponse::Keyless), RequestContext::late_response) {
                response.extensions_mut().insert(late);
            }
            Ok(response)
        };
        match tasks {
            // A change is audited, also if its client disconnects. The task ends early only if the runtime shuts down.
            Some(tasks) => {
                let handled = tasks.spawn(handling);
                Box::pin(async move {
                    let failed = |_| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
                    handled.await.unwrap_or_else(failed)
                })
            }
            None => Box::pin(handling),
        }
    }
}
