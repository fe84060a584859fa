use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use wxsub_proto::codec::RawResponse;
use wxsub_proto::endpoint::{stable_token, subscribe, token};

use crate::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};

/// A transport with prepared responses. It records all requests. A clone is the same mock.
///
/// Prepare the token first, then what each send meets. A request without a prepared response fails with an error that
/// says so.
///
/// ```
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Message};
/// use wxsub_core::testing::MockTransport;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weixin = MockTransport::new().token("T").refused(43101);
/// let client = Client::builder("wx1", "SECRET", weixin.clone()).build()?;
///
/// let grant = Grant::assume_verified("OPENID", "TEMPLATE", 7)?;
/// let message = Message::builder(grant).title("Hi").content("Hello").build()?;
/// let error = client.send(&message).await.unwrap_err();
/// assert_eq!(error.errcode().unwrap().get(), 43101);
/// # Ok(()) }
/// ```
#[derive(Clone, Default, derive_more::Debug)]
#[debug("MockTransport({} requests seen)", seen.lock().len())]
pub struct MockTransport {
    script: Arc<Mutex<HashMap<String, Responses>>>,
    seen: Arc<Mutex<Vec<RecordedRequest>>>,
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
    pub fn json(body: &str) -> Self {
        Self::Response(200, Bytes::copy_from_slice(body.as_bytes()))
    }

    /// The connection is refused. Nothing was sent.
    pub fn refuse_connection() -> Self {
        Self::Fail(TransportError::before_sending(TransportErrorKind::Connect, "mock"))
    }

    /// The connection breaks after the request was sent. The server may have processed it.
    pub fn lose_response() -> Self {
        Self::Fail(TransportError::maybe_sent(TransportErrorKind::Broken, "mock"))
    }
}

/// A recorded request, **with its secrets**. `Debug` shows method and path only.
#[derive(Clone, derive_more::Debug)]
#[debug("{method} {path}")]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body.
    pub body: Bytes,
}

impl MockTransport {
    /// Creates a transport without responses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token for the next token call, to `/cgi-bin/token` or to `/cgi-bin/stable_token`. It expires in two hours.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        let response = MockResponse::json(&format!(r#"{{"access_token":"{token}","expires_in":7200}}"#));
        self.respond_once(token::PATH, response.clone());
        self.respond_once(stable_token::PATH, response);
        self
    }

    /// Adds a response for the next send: accepted.
    #[must_use]
    pub fn accepted(self) -> Self {
        self.on_send(MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#))
    }

    /// Adds a response for the next send: refused with this errcode.
    #[must_use]
    pub fn refused(self, errcode: i64) -> Self {
        self.on_send(MockResponse::json(&format!(r#"{{"errcode":{errcode},"errmsg":"mock"}}"#)))
    }

    /// Loses the response to the next send. The message may have been sent.
    #[must_use]
    pub fn response_lost(self) -> Self {
        self.on_send(MockResponse::lose_response())
    }

    fn on_send(self, response: MockResponse) -> Self {
        self.respond_once(subscribe::PATH, response);
        self
    }

    /// Adds a response for one request to this path. Responses are used in their order.
    pub fn respond_once(&self, path: &str, response: MockResponse) {
        self.script.lock().entry(path.to_owned()).or_default().next.push_back(response);
    }

    /// Sets the response for requests to this path that have no other.
    pub fn respond_always(&self, path: &str, response: MockResponse) {
        self.script.lock().entry(path.to_owned()).or_default().always = Some(response);
    }

    /// Returns all requests so far, in their order.
    pub fn seen(&self) -> Vec<RecordedRequest> {
        self.seen.lock().clone()
    }

    /// Returns the number of requests to this path.
    pub fn count(&self, path: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.path == path).count()
    }
}

#[async_trait]
impl Transport for MockTransport {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let (head, body) = request.into_http().into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let (method, host) = (head.method.to_string(), head.uri.host().unwrap_or_default().to_owned());
        let response = self
            .script
            .lock()
            .get_mut(&path)
            .and_then(|responses| responses.next.pop_front().or(responses.always.clone()));
        self.seen.lock().push(RecordedRequest { method, host, path, query, body });
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
