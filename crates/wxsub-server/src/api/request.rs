//! What the handlers of both APIs share: the context of a request, its body, and JSON responses.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use wxsub_api::ApiKey;
use wxsub_core::clock::{MonotonicInstant, timeout_at};

use crate::apps::{ConfigSnapshot, ManagedApp, ReportError, ServedToken, ServerState};
use crate::config::{ApiClient, ApiKeyDigest, find_by_key};
use crate::state::audit::{Action, ApiSurface, Entry};

/// A request: the configuration that applies to it, its deadline, and its audit line. An axum extractor.
#[derive(Debug, Clone)]
pub(super) struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<ServerState>,
    snapshot: Arc<ConfigSnapshot>,
    address: Option<IpAddr>,
    /// The deadline of the response. It counts from the first wait.
    deadline: OnceLock<MonotonicInstant>,
    /// `None` if the audit is off, or the line is queued already.
    audit: Mutex<Option<Box<Entry>>>,
}

/// Why the body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    /// The connection broke, or the body was not complete in time.
    Incomplete,
}

/// A JSON response with status 200 that must not be cached.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl RequestContext {
    /// Begins the handling of a request, so that its extractors find the context.
    pub(super) fn begin(
        state: &Arc<ServerState>,
        request: &mut Request,
        api: ApiSurface,
        action: Action,
    ) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let address = peer.map(|peer| peer.0.ip().to_canonical());
        let audit = Mutex::new(state.audit().begin(api, action, address));
        let context = Self::new(state, address, audit);
        request.extensions_mut().insert(context.clone());
        context
    }

    fn new(state: &Arc<ServerState>, address: Option<IpAddr>, audit: Mutex<Option<Box<Entry>>>) -> Self {
        let (state, snapshot, deadline) = (Arc::clone(state), state.snapshot(), OnceLock::new());
        Self(Arc::new(Inner { state, snapshot, address, deadline, audit }))
    }

    pub(super) fn state(&self) -> &Arc<ServerState> {
        &self.0.state
    }

    pub(super) fn snapshot(&self) -> &ConfigSnapshot {
        &self.0.snapshot
    }

    /// The client of this key, if it allows the address of the request.
    pub(super) fn client(&self, key: &ApiKey) -> Option<Arc<ApiClient>> {
        let client = find_by_key(&self.snapshot().clients, &ApiKeyDigest::of(key))?;
        client.allows_address(self.0.address).then(|| Arc::clone(client))
    }

    /// Runs `work` until the deadline of the request. Returns `None` on timeout.
    pub(super) async fn with_timeout<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(&**self.state().clock(), self.deadline(), work).await
    }

    /// The deadline of the request. The first call starts it.
    pub(super) fn deadline(&self) -> MonotonicInstant {
        let start = || self.state().clock().now().mono + self.snapshot().limits.request;
        *self.0.deadline.get_or_init(start)
    }

    /// The context of a request, and its body within the limits of size and time.
    pub(super) async fn read_body(
        request: Request,
        state: &Arc<ServerState>,
    ) -> (Self, Result<Bytes, BodyError>) {
        let (mut parts, body) = request.into_parts();
        let Ok(context) = Self::from_request_parts(&mut parts, state).await;
        let body: Limited<Body> = Limited::new(body, context.snapshot().limits.body);
        let body = match context.with_timeout(body.collect()).await {
            Some(Ok(whole)) => Ok(whole.to_bytes()),
            Some(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
            Some(Err(_)) | None => Err(BodyError::Incomplete),
        };
        (context, body)
    }

    /// Changes the audit line, if there is one.
    pub(super) fn audit(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.audit.lock().unwrap_or_else(PoisonError::into_inner).as_deref_mut() {
            change(entry);
        }
    }

    /// Takes the audit line, so that the caller queues it.
    pub(super) fn take_audit(&self) -> Option<Box<Entry>> {
        self.0.audit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Counts and audits the result of a token read or report of an authorized client.
    pub(super) fn record_token(
        &self,
        api: ApiSurface,
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
            metrics.record_read(api);
        }
        if action == Action::Report {
            metrics.record_report(app.appid(), outcome);
        }
        self.audit(|entry| {
            entry.outcome = outcome;
            entry.generation = served.as_ref().ok().map(|served| served.cached.generation().get());
        });
    }
}

impl FromRequestParts<Arc<ServerState>> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<ServerState>) -> Result<Self, Infallible> {
        let begun = parts.extensions.get::<Self>().cloned();
        Ok(begun.unwrap_or_else(|| Self::new(state, None, Mutex::default())))
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
