//! The context of a request to one of the APIs.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use wxsub_core::clock::{MonotonicInstant, timeout_at};
use wxsub_core::token::ApiKey;

use crate::client::{ApiClient, find_by_key};
use crate::key::ApiKeyDigest;
use crate::state::{ConfigSnapshot, ServerState};

/// A request, with the configuration that applies to it. An axum extractor.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) state: Arc<ServerState>,
    pub(crate) snapshot: Arc<ConfigSnapshot>,
    pub(crate) head: Parts,
    pub(crate) address: Option<IpAddr>,
    /// The deadline of the response. It counts from the first wait.
    deadline: OnceLock<MonotonicInstant>,
    /// The body, which is taken once. The lock makes the context shareable between tasks.
    body: Mutex<Option<Body>>,
}

/// The caller in an audit line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditCaller<'a> {
    pub(crate) client: Option<&'a ApiClient>,
    pub(crate) address: Option<IpAddr>,
}

/// Why the body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    /// The connection broke, or the body was not complete in time.
    Incomplete,
}

impl FromRequest<Arc<ServerState>> for RequestContext {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Arc<ServerState>) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        let snapshot = state.snapshot();
        let address = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let (deadline, body) = (OnceLock::new(), Mutex::new(Some(body)));
        Ok(Self { state: Arc::clone(state), snapshot, head, address, deadline, body })
    }
}

impl RequestContext {
    /// The client of this key, if it allows the address of the request.
    pub(crate) fn client(&self, key: Option<&ApiKey>) -> Option<&ApiClient> {
        let client = find_by_key(&self.snapshot.clients, &ApiKeyDigest::of(key?))?;
        client.allows_address(self.address).then_some(client)
    }

    pub(crate) fn caller<'a>(&self, client: Option<&'a ApiClient>) -> AuditCaller<'a> {
        AuditCaller { client, address: self.address }
    }

    /// Runs `work` until the deadline of the request. Returns `None` on timeout.
    pub(crate) async fn with_timeout<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(&**self.state.clock(), self.deadline(), work).await
    }

    /// The deadline of the request. The first call starts it.
    pub(crate) fn deadline(&self) -> MonotonicInstant {
        let start = || self.state.clock().now().mono + self.snapshot.limits.request;
        *self.deadline.get_or_init(start)
    }

    fn take_body(&self) -> Body {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Reads the body, within the limits of size and time.
    pub(crate) async fn body(&self) -> Result<Bytes, BodyError> {
        let body = Limited::new(self.take_body(), self.snapshot.limits.body);
        match self.with_timeout(body.collect()).await {
            Some(Ok(whole)) => Ok(whole.to_bytes()),
            Some(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
            Some(Err(_)) | None => Err(BodyError::Incomplete),
        }
    }
}

/// The key of `Authorization: Bearer KEY`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<ApiKey> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| ApiKey::new(key.trim()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_needs_one_header_with_scheme_and_key() {
        let key = "a".repeat(43);
        for (value, found) in [
            (format!("Bearer {key}"), true),
            (format!("bearer {key}"), true),
            (format!("Basic {key}"), false),
            (format!("Bearer{key}"), false),
            (key.clone(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer short".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers).is_some(), found, "{value}");
            headers.append(AUTHORIZATION, value.parse().unwrap());
            assert!(bearer(&headers).is_none(), "two headers are ambiguous");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
    }
}
