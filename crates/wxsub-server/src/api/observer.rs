//! The layer around every handler: it measures the response and writes the audit line.
//!
//! It wraps handlers with [`Handler::layer`](axum::handler::Handler::layer) and not routes, and its future is not boxed.
//! A layer of a route would allocate three times for every request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use prometheus_client::metrics::histogram::Histogram;
use tower_layer::Layer;
use tower_service::Service;
use wxsub_core::clock::MonotonicInstant;

use super::request::{LateResponse, RequestContext};
use super::{v1, weixin_compat};
use crate::apps::ServerState;
use crate::state::audit::{Action, ApiSurface, Unrecorded};

/// What surrounds the handler of one route.
#[derive(Clone)]
pub(super) struct RouteObserver {
    state: Arc<ServerState>,
    /// The path of the route, as the label of its metrics.
    route: &'static str,
    audit: Option<(ApiSurface, Action)>,
    /// The durations of responses with status 200. Looked up once.
    ok_durations: Arc<OnceLock<Histogram>>,
}

impl RouteObserver {
    /// Measures responses under this label.
    pub(super) fn new(state: &Arc<ServerState>, route: &'static str) -> Self {
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

    /// Records the audit line, if the handler has left it. A required line that cannot be recorded changes the response.
    fn record<F>(&self, response: Response, context: Option<&RequestContext>) -> Work<F> {
        let Some(line) = context.and_then(RequestContext::take_audit) else { return Work::Ready(response) };
        let (audit, is_refused, api) = (self.state.audit().clone(), line.is_refused(), line.api);
        Work::Recording(Box::pin(async move {
            match (audit.record(line).await, api) {
                (Err(Unrecorded), ApiSurface::V1) if !is_refused => v1::unrecorded(),
                (Err(Unrecorded), ApiSurface::Weixin) if !is_refused => weixin_compat::unrecorded(),
                _ => response,
            }
        }))
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
    S::Future: Unpin,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ObservedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let observer = self.observer.clone();
        let started_at = observer.state.clock().now().mono;
        let context = observer
            .audit
            .map(|(api, action)| RequestContext::begin(&observer.state, &mut request, api, action));
        let work = Work::Handler(self.handler.call(request));
        ObservedFuture { work, observer, started_at, context }
    }
}

/// The response of an [`ObservedHandler`] handler.
pub(super) struct ObservedFuture<F> {
    work: Work<F>,
    observer: RouteObserver,
    started_at: MonotonicInstant,
    context: Option<RequestContext>,
}

enum Work<F> {
    Handler(F),
    /// The response of a request without an audit line.
    Ready(Response),
    /// Waits until the audit line of the response is recorded.
    Recording(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl<F: Future<Output = Result<Response, Infallible>> + Unpin> Future for ObservedFuture<F> {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Work::Handler(handler) = &mut self.work {
            let Ok(response) = ready!(Pin::new(handler).poll(context));
            self.work = self.observer.record(response, self.context.as_ref());
        }
        let mut response = match &mut self.work {
            Work::Recording(recording) => ready!(recording.as_mut().poll(context)),
            Work::Ready(response) => std::mem::take(response),
            // It was replaced above.
            Work::Handler(_) => return Poll::Pending,
        };
        self.observer.measure(self.started_at, &response);
        let context = self.context.as_ref();
        if let Some(late) = context.map_or(Some(LateResponse::Keyless), RequestContext::late_response) {
            response.extensions_mut().insert(late);
        }
        Poll::Ready(Ok(response))
    }
}
