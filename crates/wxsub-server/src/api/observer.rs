//! The layer around every handler: it measures the response and writes the audit line.
//!
//! It wraps handlers with [`Handler::layer`](axum::handler::Handler::layer) and not routes: a layer of a route would allocate
//! three times for every request.

use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::pin::Pin;
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
use super::v1::ProblemResponse;
use super::weixin_compat::WeixinResponse;
use crate::apps::SharedState;
use crate::state::audit::{Action, ApiSurface};

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

    /// Records the audit line, if the handler has left it. A required line that cannot be recorded changes the response; not that to a
    /// change, which is made, and whose start is recorded.
    async fn record(response: Response, context: Option<&RequestContext>) -> Response {
        let line = context.map(RequestContext::take_audit).unwrap_or_default();
        let Some(entry) = line.entry() else { return response };
        let (must_be_recorded, api) = (!entry.is_refused() && !entry.action.is_change(), entry.api);
        match (line.record().await, api) {
            (Err(unrecorded), ApiSurface::V1) if must_be_recorded => {
                ProblemResponse::from(unrecorded).into_response()
            }
            (Err(unrecorded), ApiSurface::Weixin) if must_be_recorded => {
                WeixinResponse::from(unrecorded).into_response()
            }
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
    type Future = Handling;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let observer = self.observer.clone();
        let started_at = observer.state.clock().now().mono;
        let begin = |(api, action)| RequestContext::begin(&observer.state, &mut request, api, action);
        let context = observer.audit.map(begin);
        let response = self.handler.call(request);
        let change = context.clone();
        let response = async move {
            let Ok(response) = response.await;
            let mut response = RouteObserver::record(response, context.as_ref()).await;
            observer.measure(started_at, &response);
            let context = context.as_ref();
            if let Some(late) = context.map_or(Some(LateResponse::Keyless), RequestContext::late_response) {
                response.extensions_mut().insert(late);
            }
            response
        };
        Handling { change, response: Box::pin(response) }
    }
}

/// The handling of a request. A change goes on in a task of its own from when its client is authorized, so it is audited also if the
/// client disconnects. A request without a known key has no task.
pub(super) struct Handling {
    /// `None` if the request is no change, or has its task.
    change: Option<RequestContext>,
    response: BoxFuture<'static, Response>,
}

impl Future for Handling {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { change, response } = self.get_mut();
        let polled = response.as_mut().poll(context);
        let begun = change.take_if(|change| polled.is_pending() && change.is_change());
        let Some(change) = begun else { return polled.map(Ok) };
        let task = change.state().tasks.spawn(mem::replace(response, Box::pin(pending())));
        // The task ends early only if the runtime shuts down.
        let failed = |_| StatusCode::INTERNAL_SERVER_ERROR.into_response();
        *response = Box::pin(async move { task.await.unwrap_or_else(failed) });
        response.as_mut().poll(context).map(Ok)
    }
}
