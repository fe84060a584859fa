use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use wxsub_proto::BaseUrl;
use wxsub_proto::codec::{Method, Request};

use super::{TransportError, TransportErrorKind};
use crate::token::ApiKey;

/// A request on its way out. Its URL and body hold secrets: `Debug` shows verb, host and path only.
pub struct HttpRequest(http::Request<Bytes>);

/// Who asks.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("wxsub/", env!("CARGO_PKG_VERSION")));

impl HttpRequest {
    /// The request as it goes to this server.
    ///
    /// # Errors
    /// [`TransportError`] if base URL and request do not make a URL that can be written.
    pub fn new(base: &BaseUrl, request: Request<'_>) -> Result<Self, TransportError> {
        let not_a_url =
            |_| TransportError::before_sending(TransportErrorKind::Other, "the base URL makes no valid URL");
        let uri = http::Uri::from_maybe_shared(Bytes::from(request.url(base))).map_err(not_a_url)?;
        let method = match request.method() {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        };
        let mut outgoing = http::Request::new(Bytes::from(request.into_body()));
        if method == http::Method::POST {
            outgoing.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        outgoing.headers_mut().insert(USER_AGENT, AGENT);
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = uri;
        Ok(Self(outgoing))
    }

    /// A request to somebody else than Weixin, such as a control server.
    #[must_use]
    pub fn from_http(request: http::Request<Bytes>) -> Self {
        let mut outgoing = Self(request);
        outgoing.0.headers_mut().insert(USER_AGENT, AGENT);
        outgoing
    }

    /// A request to this path of a control server (`wxsub serve`): a `POST` of this JSON, or a `GET` without any.
    ///
    /// # Errors
    /// [`TransportError`] if base URL and path do not make a URL that can be written.
    pub fn to_control_server(
        base: &BaseUrl,
        key: &ApiKey,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Self, TransportError> {
        let unwritable = |_| {
            TransportError::before_sending(TransportErrorKind::Other, "the server's URL makes no valid URL")
        };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| TransportError::before_sending(TransportErrorKind::Other, "the key is no header"))?;
        bearer.set_sensitive(true);
        let method = if json.is_some() { http::Method::POST } else { http::Method::GET };
        let request = http::Request::builder().method(method).uri(format!("{base}{path}"));
        let request = request.header(AUTHORIZATION, bearer).header(CONTENT_TYPE, "application/json");
        let request = request.body(Bytes::from(json.unwrap_or_default())).map_err(unwritable)?;
        Ok(Self::from_http(request))
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.uri().path()
    }

    /// The request **with its secrets**: for the wire only.
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
