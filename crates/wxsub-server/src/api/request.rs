//! What the handlers of both APIs share: the context of a request, its body, and JSON responses.

use std::convert::Infallible;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use wxsub_core::clock::MonotonicInstant;

use super::client_address::client_address;
use crate::apps::{
    ConfigSnapshot, Load, MAX_KEYLESS_BODIES, ManagedApp, ReportError, RequestPermit, ServedToken,
    SharedState,
};
use crate::config::ApiClient;
use crate::state::audit::{Action, ApiSurface, Entry, Line, Unrecorded};
use crate::state::denial::Denial;
use crate::state::limit::Limit;
use crate::state::locked;
use crate::state::metrics::AppCount;
use crate::state::pace::TooMany;

/// A request: the configuration that applies to it, its deadline, and its audit line. An axum extractor.
#[derive(Clone)]
pub(super) struct RequestContext(Arc<Inner>);

struct Inner {
    state: SharedState,
    snapshot: Arc<ConfigSnapshot>,
    api: ApiSurface,
    action: Action,
    address: Option<IpAddr>,
    /// The caller, once it is known.
    caller: OnceLock<Caller>,
    /// The deadline of the response. It counts from the first wait.
    deadline: OnceLock<MonotonicInstant>,
    audit: Mutex<Line>,
    /// Whether the response has to wait, because the caller was refused too often.
    must_pause: AtomicBool,
    /// Whether it is a change of an authorized client.
    is_change: AtomicBool,
}

/// Marks a response that may have to wait before it is sent. The listener does that: meanwhile the connection makes room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LateResponse {
    /// The caller was refused too often.
    RefusedOften,
    /// The request has no known key.
    Keyless,
}

/// A caller with a known key or access token: its name for the log, and its load.
struct Caller {
    name: String,
    load: Arc<Load>,
}

/// Maximum size of a body without a known key, in bytes. It has the key and an AppID.
const MAX_KEYLESS_BODY_BYTES: usize = 4096;

/// Why the body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    /// The connection broke, or the body was not complete in time, or it had to end for a newer one.
    Incomplete,
}

/// A JSON response with status 200 that must not be cached.
pub(super) struct Json<T>(pub(super) T);

impl Inner {
    /// Without an audit line.
    fn new(state: &SharedState, snapshot: Arc<ConfigSnapshot>, action: Action) -> Self {
        let (caller, deadline, audit, must_pause, is_change) = Default::default();
        let (state, api, address) = (Arc::clone(state), ApiSurface::V1, None);
        Self { state, snapshot, api, action, address, caller, deadline, audit, must_pause, is_change }
    }
}

impl RequestContext {
    /// Begins the handling of a request, so that its extractors find the context.
    pub(super) fn begin(state: &SharedState, request: &mut Request, api: ApiSurface, action: Action) -> Self {
        let snapshot = state.snapshot();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let trusted_proxies = &snapshot.trusted_proxies;
        let address = peer.and_then(|peer| client_address(peer.0.ip(), trusted_proxies, request.headers()));
        let audit = Mutex::new(state.audit().begin(api, action, address));
        let context = Self(Arc::new(Inner { api, address, audit, ..Inner::new(state, snapshot, action) }));
        request.extensions_mut().insert(context.clone());
        context
    }

    pub(super) fn state(&self) -> &SharedState {
        &self.0.state
    }

    pub(super) fn snapshot(&self) -> &ConfigSnapshot {
        &self.0.snapshot
    }

    /// What a request to the route does.
    pub(super) fn action(&self) -> Action {
        self.0.action
    }

    /// The address of the client, if it is known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.0.address
    }

    /// Sets the caller, to which body and place in flight count.
    pub(super) fn set_caller(&self, name: &str, load: &Arc<Load>) {
        let _ = self.0.caller.set(Caller { name: name.to_owned(), load: Arc::clone(load) });
    }

    /// The client whose key the request has.
    pub(super) fn client(&self) -> Option<&ApiClient> {
        let name = &self.0.caller.get()?.name;
        self.snapshot().clients.iter().map(|client| &*client.config).find(|client| client.name == *name)
    }

    /// Takes a place in flight. A request does so when its body is complete, and before it waits for anything else.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn try_acquire_permit(&self) -> Result<RequestPermit, Limit> {
        self.state().try_acquire_permit(self.load()).inspect_err(|limit| self.over_limit(*limit))
    }

    /// Waits for the turn of a request of an authorized caller. Unless it is a read, it also needs a free place in flight: one that
    /// cannot be handled costs nothing more then.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) async fn admit(&self, action: Action) -> Result<(), Limit> {
        self.0.is_change.store(action.is_change(), Ordering::Relaxed);
        let (state, now) = (self.state(), self.state().clock().now().mono);
        match self.load().plan_request(self.snapshot().limits.requests_per_key, now) {
            Ok(Duration::ZERO) => {}
            Ok(wait) => {
                self.record_limit(Limit::RequestsPerKey);
                state.deadline(now + wait).await;
            }
            Err(TooMany) => {
                self.over_limit(Limit::RequestsPerKey);
                return Err(Limit::RequestsPerKey);
            }
        }
        match action {
            // A read of a valid token needs no place.
            Action::Read | Action::List => Ok(()),
            _ => state.check_places(self.load()).inspect_err(|limit| self.over_limit(*limit)),
        }
    }

    /// Whether it is a change of an authorized client.
    pub(super) fn is_change(&self) -> bool {
        self.0.is_change.load(Ordering::Relaxed)
    }

    /// The load of the caller.
    fn load(&self) -> &Arc<Load> {
        self.0.caller.get().map_or(&self.state().keyless, |caller| &caller.load)
    }

    /// Counts and audits a request over a limit.
    fn over_limit(&self, limit: Limit) {
        self.record_limit(limit);
        self.record_refusal();
        self.audit(|entry| {
            entry.outcome = if limit == Limit::InFlight { "overloaded" } else { "rate_limited" };
        });
    }

    /// Counts a request that the server refuses. A caller with many of them gets its responses late.
    fn record_refusal(&self) {
        if self.load().is_refused_often(self.state().clock().now().mono) {
            self.0.must_pause.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the response may have to wait.
    pub(super) fn late_response(&self) -> Option<LateResponse> {
        match self.0.must_pause.load(Ordering::Relaxed) {
            true => Some(LateResponse::RefusedOften),
            false => self.0.caller.get().is_none().then_some(LateResponse::Keyless),
        }
    }

    fn record_limit(&self, limit: Limit) {
        match (self.0.caller.get(), self.0.address) {
            (Some(caller), _) => self.state().record_limit(limit, &caller.name),
            (None, Some(address)) => self.state().record_limit(limit, &address),
            (None, None) => self.state().record_limit(limit, &"unknown"),
        }
    }

    /// Counts and audits a denial.
    pub(super) fn denied(&self, denial: Denial) -> Denial {
        self.state().metrics().record_denial(self.0.api, denial);
        self.record_refusal();
        self.audit(|entry| entry.reason = Some(denial));
        denial
    }

    /// Runs `work` until the deadline of the request, or until requests are cut at a stop. Returns `None` then.
    pub(super) async fn with_timeout<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.state().deadline(self.deadline()) => None,
        }
    }

    /// The deadline of the request. The first call starts it.
    pub(super) fn deadline(&self) -> MonotonicInstant {
        let start = || self.state().clock().now().mono + self.snapshot().limits.request;
        *self.0.deadline.get_or_init(start)
    }

    /// The context of a request, and its body within the limits of size and time.
    pub(super) async fn read_body(request: Request, state: &SharedState) -> (Self, Result<Bytes, BodyError>) {
        Self::read_body_up_to(request, state, 0).await
    }

    /// Like [`read_body`](Self::read_body). The body of a known caller may have at least this many bytes.
    pub(super) async fn read_body_up_to(
        request: Request,
        state: &SharedState,
        allowed_bytes: usize,
    ) -> (Self, Result<Bytes, BodyError>) {
        let (mut parts, body) = request.into_parts();
        let Ok(context) = Self::from_request_parts(&mut parts, state).await;
        let limits = &context.snapshot().limits;
        let (load, limit, max_bodies, max_bytes) = match context.0.caller.get() {
            Some(caller) => {
                (&caller.load, Limit::BodiesPerKey, limits.in_flight_per_key, limits.body.max(allowed_bytes))
            }
            None => {
                let max_bytes = limits.body.min(MAX_KEYLESS_BODY_BYTES);
                (&state.keyless, Limit::KeylessBodies, MAX_KEYLESS_BODIES, max_bytes)
            }
        };
        let (mut incoming, is_at_limit) = load.begin_body(max_bodies);
        if is_at_limit {
            context.record_limit(limit);
        }
        let body: Limited<Body> = Limited::new(body, max_bytes);
        let received = tokio::select! {
            biased;
            received = context.with_timeout(body.collect()) => received,
            () = incoming.displaced() => None,
        };
        drop(incoming);
        let body = match received {
            Some(Ok(whole)) => Ok(whole.to_bytes()),
            Some(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
            Some(Err(_)) | None => Err(BodyError::Incomplete),
        };
        (context, body)
    }

    /// Changes the audit line, if there is one.
    pub(super) fn audit(&self, change: impl FnOnce(&mut Entry)) {
        locked(&self.0.audit).change(change);
    }

    /// Records that a change of an authorized caller starts, if the audit is required.
    ///
    /// # Errors
    /// [`Unrecorded`]: nothing may be changed.
    pub(super) async fn record_start(&self) -> Result<(), Unrecorded> {
        if !self.is_change() {
            return Ok(());
        }
        let start = locked(&self.0.audit).start();
        // Boxed to keep the future of a read small.
        Box::pin(start.record()).await.inspect_err(|Unrecorded| locked(&self.0.audit).discard())
    }

    /// Takes the audit line, so that the caller records it.
    pub(super) fn take_audit(&self) -> Line {
        mem::take(&mut *locked(&self.0.audit))
    }

    /// Counts and audits the result of a token read or report of an authorized client.
    pub(super) fn record_token(
        &self,
        action: Action,
        app: &ManagedApp,
        served: &Result<ServedToken, ReportError>,
    ) {
        let metrics = self.state().metrics();
        let outcome = match served {
            Ok(_) => "ok",
            Err(error) => error.outcome(),
        };
        if served.is_ok() {
            metrics.record_read(self.0.api);
        }
        if matches!(served, Err(ReportError::RateLimited(_))) {
            self.record_refusal();
        }
        if action == Action::Report {
            let count = match served {
                Ok(_) => AppCount::ReportAnswered,
                Err(ReportError::RateLimited(_)) => AppCount::ReportRateLimited,
                Err(ReportError::Failed(_) | ReportError::TimedOut) => AppCount::ReportWithoutToken,
            };
            metrics.record_app_count(app.appid(), count);
        }
        self.audit(|entry| {
            entry.outcome = outcome;
            entry.generation = served.as_ref().ok().map(|served| served.cached.generation().get());
        });
    }
}

impl FromRequestParts<SharedState> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, Infallible> {
        let begun = parts.extensions.get::<Self>().cloned();
        // The middleware has begun every request whose handler takes the context. Any other one would need the scope admin.
        Ok(begun.unwrap_or_else(|| Self(Arc::new(Inner::new(state, state.snapshot(), Action::List)))))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, "application/json", &self.0)
    }
}

/// A JSON response that must not be cached.
pub(super) fn json_response(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
) -> Response {
    // Fits a token of today's length without reallocation.
    let mut text = Vec::with_capacity(512);
    if serde_json::to_writer(&mut text, value).is_err() {
        text.clear();
    }
    response(status, content_type, text)
}

/// A response that must not be cached.
pub(super) fn response(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
