use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_proto::codec::RawResponse;

use crate::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};

/// A transport with prepared responses. It records all requests.
///
/// A request to a path without a response fails with an error that says so.
///
/// ```
/// use std::sync::Arc;
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Message};
/// use wxsub_core::testing::{MockResponse, MockTransport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weixin = Arc::new(MockTransport::new());
/// weixin.respond_always("/cgi-bin/token", MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
/// weixin.respond_once("/cgi-bin/message/template/subscribe", MockResponse::json(r#"{"errcode":43101,"errmsg":"user refuse"}"#));
///
/// let client = Client::builder("wx1", "SECRET", weixin.clone()).build()?;
/// let grant = Grant::assume_verified("OPENID", "TEMPLATE", 7)?;
/// let error = client.send(&Message::builder(grant).title("Hi").content("Hello").build()?).await.unwrap_err();
/// assert_eq!(error.errcode().unwrap().get(), 43101);
/// assert_eq!(weixin.count("/cgi-bin/token"), 1);
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct MockTransport {
    script: Mutex<HashMap<String, Responses>>,
    seen: Mutex<Vec<RecordedRequest>>,
}

#[derive(Default)]
struct Responses {
    next: VecDeque<MockResponse>,
    always: Option<MockResponse>,
}

/// What a request gets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MockResponse {
    /// A response with this status and body.
    Response(u16, Bytes),
    /// The exchange fails.
    Fail(TransportError),
    /// The exchange never ends.
    Hang,
}

impl MockResponse {
    /// A response of status 200 with this body.
    #[must_use]
    pub fn json(body: &str) -> Self {
        Self::Response(200, Bytes::copy_from_slice(body.as_bytes()))
    }

    /// The connection is refused. Nothing was sent.
    #[must_use]
    pub fn refuse_connection() -> Self {
        Self::Fail(TransportError::before_sending(TransportErrorKind::Connect, "mock"))
    }

    /// The connection breaks after the request was sent. The server may have processed it.
    #[must_use]
    pub fn lose_response() -> Self {
        Self::Fail(TransportError::maybe_sent(TransportErrorKind::Broken, "mock"))
    }
}

/// A recorded request, **with its secrets**. `Debug` shows method and path only.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl MockTransport {
    /// Creates a transport without responses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a response for one request to this path. Responses are used in their order.
    pub fn respond_once(&self, path: &str, response: MockResponse) {
        locked(&self.script).entry(path.to_owned()).or_default().next.push_back(response);
    }

    /// Sets the response for requests to this path that have no other.
    pub fn respond_always(&self, path: &str, response: MockResponse) {
        locked(&self.script).entry(path.to_owned()).or_default().always = Some(response);
    }

    /// Returns all requests so far, in their order.
    #[must_use]
    pub fn seen(&self) -> Vec<RecordedRequest> {
        locked(&self.seen).clone()
    }

    /// Returns the number of requests to this path.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        locked(&self.seen).iter().filter(|seen| seen.path == path).count()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MockTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockTransport({} requests seen)", locked(&self.seen).len())
    }
}

#[async_trait]
impl Transport for MockTransport {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let (head, body) = request.into_http().into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let response = locked(&self.script)
            .get_mut(&path)
            .and_then(|responses| responses.next.pop_front().or(responses.always.clone()));
        locked(&self.seen).push(RecordedRequest { method: head.method.to_string(), path, query, body });
        match response {
            Some(MockResponse::Response(status, body)) => Ok(RawResponse::new(status, body)),
            Some(MockResponse::Fail(error)) => Err(error),
            Some(MockResponse::Hang) => pending().await,
            None => Err(TransportError::before_sending(
                TransportErrorKind::Other,
                "the mock has no response for this path",
            )),
        }
    }
}
