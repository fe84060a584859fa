//! The result of one request: a response, or a connection fault.

use std::time::Duration;

use serde_json::Value;

/// The result of one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// The delay of the response. Zero without a [`Fault::Delay`](crate::Fault::Delay).
    ///
    /// The request took effect at once. Only the response is delayed.
    pub delay: Duration,
    /// The response, or how the connection failed.
    pub outcome: Result<Response, ConnectionFault>,
}

/// A complete HTTP response. `Debug` omits the body, which may contain a token.
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
#[debug("Response({status}, {} bytes)", body.len())]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type` header.
    pub content_type: &'static str,
    /// The `Location` header of a redirect.
    pub location: Option<String>,
    /// Other headers. Names are in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a connection failed, as the sandbox knows it. A client cannot distinguish the first two variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "a transport must map each of them")]
pub enum ConnectionFault {
    /// The connection was reset. The request had no effect.
    #[error("the connection was reset")]
    ResetBeforeApply,
    /// The connection was reset. The request took effect.
    #[error("the connection was reset")]
    ResetAfterApply,
    /// The request took effect. Only the first half of this response's body is sent.
    #[error("the connection was closed in the middle of the response body")]
    Truncated(Response),
    /// No response is ever sent. The request had no effect.
    #[error("no response was sent")]
    Hang,
}

/// The content type of Weixin's responses. `encoding` instead of `charset` is Weixin's spelling.
const WEIXIN_JSON: &str = "application/json; encoding=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Response {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, content_type, location: None, headers: Vec::new(), body }
    }

    /// A response of Weixin's API. Its status is always 200.
    pub(crate) fn weixin(value: &Value) -> Self {
        Self::new(200, WEIXIN_JSON, value.to_string())
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(crate) fn html(status: u16, page: String) -> Self {
        Self::new(status, HTML, page)
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn redirect(status: u16, location: String) -> Self {
        let location = Some(location);
        Self { location, ..Self::new(status, HTML, Vec::new()) }
    }
}
