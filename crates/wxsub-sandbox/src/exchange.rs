//! What becomes of one request.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// How one exchange ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// How late the ending comes; zero unless a [delay](crate::Fault::Delay) was asked for. Whatever the request does is
    /// done at once: only the reply is late.
    pub delay: Duration,
    /// The reply, or how the exchange broke.
    pub outcome: Result<Response, ConnectionFault>,
}

/// A whole reply. `Debug` does not show the body, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The `Location`, where the reply is a redirect.
    pub location: Option<String>,
    /// Further headers, with names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

/// How an exchange broke, seen from the sandbox. A caller cannot tell the first two apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "a transport must map each of them")]
pub enum ConnectionFault {
    /// The connection was reset; the request has had no effect.
    #[error("the connection was reset")]
    ResetBeforeApply,
    /// The connection was reset; the request has had its effect.
    #[error("the connection was reset")]
    ResetAfterApply,
    /// The request has had its effect, and only the first half of this reply's body arrives.
    #[error("the reply broke off")]
    Truncated(Response),
    /// No reply ever comes; the request has had no effect.
    #[error("no reply ever came")]
    Hang,
}

/// As Weixin labels its answers, in its own spelling.
const WEIXIN_JSON: &str = "application/json; encoding=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Response {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, content_type, location: None, headers: Vec::new(), body }
    }

    /// A word of Weixin's: always status 200.
    pub(crate) fn weixin(value: &Value) -> Self {
        Self::new(200, WEIXIN_JSON, value.to_string())
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(crate) fn html(status: u16, page: String) -> Self {
        Self::new(status, HTML, page)
    }

    /// This reply with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn redirect(status: u16, location: String) -> Self {
        let location = Some(location);
        Self { location, ..Self::new(status, HTML, Vec::new()) }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}
