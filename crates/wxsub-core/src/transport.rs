//! The transport: makes one HTTP exchange.

mod error;
mod limits;

pub use error::{RequestState, TransportError, TransportErrorKind, chain, format_chain};
pub use limits::{LimitedBody, TransportLimits};

use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, USER_AGENT};
use wxsub_proto::BaseUrl;
use wxsub_proto::codec::{Method, RawResponse, Request};

/// Makes one HTTP exchange within [`TransportLimits`].
///
/// It follows no redirect, makes no retry and uses no proxy that is not configured. Its error says whether the request
/// may have been sent.
///
/// Every `Fn(HttpRequest) -> Future` is a transport, so yours can be a closure:
///
/// ```
/// use bytes::Bytes;
/// use wxsub_core::proto::codec::RawResponse;
/// use wxsub_core::transport::{HttpRequest, Transport, TransportError};
///
/// let always_ok = |_request: HttpRequest| async {
///     Ok::<_, TransportError>(RawResponse::new(200, Bytes::from_static(br#"{"errcode":0,"errmsg":"ok"}"#)))
/// };
/// fn is_transport(_: &impl Transport) {}
/// is_transport(&always_ok);
/// ```
#[async_trait]
#[auto_impl(Arc)]
pub trait Transport: Send + Sync {
    /// Sends the request and reads the whole response, with any status.
    ///
    /// # Errors
    /// [`TransportError`] says what failed, and whether the request may have been sent.
    ///
    /// # Cancel safety
    /// Not cancel safe: if the future is dropped, the request may or may not have been sent.
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError>;
}

#[async_trait]
impl<F, Fut> Transport for F
where
    F: Fn(HttpRequest) -> Fut + Send + Sync,
    Fut: Future<Output = Result<RawResponse<Bytes>, TransportError>> + Send,
{
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        self(request).await
    }
}

/// An HTTP request. Its URL and body contain secrets, so `Debug` shows method, host and path only.
#[derive(derive_more::Debug)]
#[debug("{} {}{}", _0.method(), _0.uri().host().unwrap_or_default(), self.path())]
pub struct HttpRequest(http::Request<Bytes>);

/// How long a transport waits for a body that the request [ignores](HttpRequest::ignore_response_body). After a complete body the
/// connection is used again.
pub const IGNORED_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Marks a request that [ignores](HttpRequest::ignore_response_body) the body of its response.
#[derive(Clone)]
struct IgnoresResponseBody;

/// The maximum length of the body of a response, in bytes.
#[derive(Clone, Copy)]
struct MaxResponseBytes(usize);

/// The value of the `User-Agent` header.
const USER_AGENT_VALUE: HeaderValue = HeaderValue::from_static(concat!("wxsub/", env!("CARGO_PKG_VERSION")));

impl HttpRequest {
    /// Creates the HTTP request for this base URL.
    ///
    /// # Errors
    /// [`TransportError`] if base URL and request make no valid URL.
    pub fn new(base: &BaseUrl, request: Request<'_>) -> Result<Self, TransportError> {
        let invalid_url = |_| {
            TransportError::before_sending(
                TransportErrorKind::Other,
                "base URL and request make no valid URL; check the base URL",
            )
        };
        let uri = http::Uri::from_maybe_shared(Bytes::from(request.url(base))).map_err(invalid_url)?;
        let method = match request.method() {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        };
        let mut http_request = http::Request::new(Bytes::from(request.into_body()));
        if method == http::Method::POST {
            http_request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        http_request.headers_mut().insert(USER_AGENT, USER_AGENT_VALUE);
        *http_request.method_mut() = method;
        *http_request.uri_mut() = uri;
        Ok(Self(http_request))
    }

    /// Creates a request to another server than Weixin.
    pub fn from_http(request: http::Request<Bytes>) -> Self {
        let mut http_request = Self(request);
        http_request.0.headers_mut().insert(USER_AGENT, USER_AGENT_VALUE);
        http_request
    }

    /// Says that only status and headers of the response count. Then a transport returns the response, with an empty body,
    /// also if the body is incomplete, too large or of unknown length, or does not end within [`IGNORED_BODY_TIMEOUT`].
    #[must_use]
    pub fn ignore_response_body(mut self) -> Self {
        self.0.extensions_mut().insert(IgnoresResponseBody);
        self
    }

    /// Whether only status and headers of the response count.
    pub fn ignores_response_body(&self) -> bool {
        self.0.extensions().get::<IgnoresResponseBody>().is_some()
    }

    /// Sets the maximum length of the body of the response, in bytes, in place of that of the transport.
    #[must_use]
    pub fn max_response_bytes(mut self, max: usize) -> Self {
        self.0.extensions_mut().insert(MaxResponseBytes(max));
        self
    }

    /// Returns these limits of a transport with the maximum length that the request sets.
    pub fn limits(&self, limits: TransportLimits) -> TransportLimits {
        match self.0.extensions().get() {
            Some(MaxResponseBytes(max)) => limits.body_bytes(*max),
            None => limits,
        }
    }

    /// Returns the path, without the query.
    pub fn path(&self) -> &str {
        self.0.uri().path()
    }

    /// Returns the request **with its secrets**, for the HTTP library only.
    pub fn into_http(self) -> http::Request<Bytes> {
        self.0
    }
}

/// Returns the `Date` header of a response, for [`RawResponse::with_date`](wxsub_proto::codec::RawResponse::with_date).
pub fn date_of(headers: &HeaderMap) -> Option<String> {
    headers.get(DATE)?.to_str().ok().map(str::to_owned)
}

/// Returns the `Retry-After` header of a response, for
/// [`RawResponse::with_retry_after`](wxsub_proto::codec::RawResponse::with_retry_after). `None` if it is absent or a date.
pub fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_unchanged() {
        let date = "Tue, 24 Nov 2026 04:19:43 GMT";
        assert_eq!(date_of(&HeaderMap::from_iter([(DATE, date.parse().unwrap())])).as_deref(), Some(date));
        assert_eq!(date_of(&HeaderMap::new()), None);
    }

    #[test]
    fn retry_after_is_in_seconds() {
        let read =
            |value: &str| retry_after_of(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(read("60"), Some(Duration::from_secs(60)));
        for value in ["Tue, 24 Nov 2026 04:19:43 GMT", "-1", "1.5", ""] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(retry_after_of(&HeaderMap::new()), None);
    }
}
