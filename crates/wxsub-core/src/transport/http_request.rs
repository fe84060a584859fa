use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use wxsub_proto::BaseUrl;
use wxsub_proto::codec::{Method, Request};

use super::{TransportError, TransportErrorKind};
use crate::token::ApiKey;

/// An HTTP request. Its URL and body contain secrets, so `Debug` shows method, host and path only.
pub struct HttpRequest(http::Request<Bytes>);

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
                "base URL and request make no valid URL",
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
    #[must_use]
    pub fn from_http(request: http::Request<Bytes>) -> Self {
        let mut http_request = Self(request);
        http_request.0.headers_mut().insert(USER_AGENT, USER_AGENT_VALUE);
        http_request
    }

    /// Creates a request to this path of a control server (`wxsub serve`): a `POST` with this JSON, or else a
    /// `GET`.
    ///
    /// # Errors
    /// [`TransportError`] if base URL and path make no valid URL.
    pub fn to_control_server(
        base: &BaseUrl,
        key: &ApiKey,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Self, TransportError> {
        let invalid_url = |_| {
            TransportError::before_sending(TransportErrorKind::Other, "base URL and path make no valid URL")
        };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).map_err(|_| {
            TransportError::before_sending(TransportErrorKind::Other, "the key is no valid header value")
        })?;
        bearer.set_sensitive(true);
        let method = if json.is_some() { http::Method::POST } else { http::Method::GET };
        let request = http::Request::builder().method(method).uri(format!("{base}{path}"));
        let request = request.header(AUTHORIZATION, bearer).header(CONTENT_TYPE, "application/json");
        let request = request.body(Bytes::from(json.unwrap_or_default())).map_err(invalid_url)?;
        Ok(Self::from_http(request))
    }

    /// Returns the path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.uri().path()
    }

    /// Returns the request **with its secrets**, for the HTTP library only.
    #[must_use]
    pub fn into_http(self) -> http::Request<Bytes> {
        self.0
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.uri().host().unwrap_or_default();
        write!(f, "{} {host}{}", self.0.method(), self.path())
    }
}
