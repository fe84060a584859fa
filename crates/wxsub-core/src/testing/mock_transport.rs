use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_proto::codec::RawResponse;

use crate::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};

/// A transport that follows a script and remembers what it was asked. Paths without a step left answer with an error
/// that says so.
///
/// ```
/// use std::sync::Arc;
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Scene};
/// use wxsub_core::testing::{MockResponse, MockTransport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weixin = Arc::new(MockTransport::new());
/// weixin.respond_always("/cgi-bin/token", MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
/// weixin.respond_once("/cgi-bin/message/template/subscribe", MockResponse::json(r#"{"errcode":43101,"errmsg":"user refuse"}"#));
///
/// let client = Client::builder("wx1".parse()?, "SECRET".parse()?, weixin.clone()).build();
/// let grant = Grant::assume_verified("OPENID".parse()?, "TEMPLATE".parse()?, Scene::new(7)?);
/// let refused = client.send(&grant.message("Hi".parse()?, "Hello".parse()?)).await.unwrap_err();
/// assert_eq!(refused.errcode().unwrap().get(), 43101);
/// assert_eq!(weixin.count("/cgi-bin/token"), 1);
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct MockTransport {
    script: Mutex<HashMap<String, Steps>>,
    seen: Mutex<Vec<RecordedRequest>>,
}

#[derive(Default)]
struct Steps {
    next: VecDeque<MockResponse>,
    always: Option<MockResponse>,
}

/// What happens to a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MockResponse {
    /// This status and body come back.
    Reply(u16, Bytes),
    /// The exchange fails.
    Fail(TransportError),
    /// Nothing ever comes back.
    Hang,
}

impl MockResponse {
    /// A reply of status 200 with this body.
    #[must_use]
    pub fn json(body: &str) -> Self {
        Self::Reply(200, Bytes::copy_from_slice(body.as_bytes()))
    }

    /// The connection is refused: nothing was sent.
    #[must_use]
    pub fn refuse_connection() -> Self {
        Self::Fail(TransportError::before_sending(TransportErrorKind::Connect, "scripted"))
    }

    /// The connection breaks after the request: it may have been carried out.
    #[must_use]
    pub fn lose_answer() -> Self {
        Self::Fail(TransportError::maybe_sent(TransportErrorKind::Broken, "scripted"))
    }
}

/// A request the transport was asked to carry out, **with its secrets**; `Debug` shows verb and path only.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The verb.
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
    /// An empty script.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next request to this path that has no step yet gets this one.
    pub fn respond_once(&self, path: &str, step: MockResponse) {
        locked(&self.script).entry(path.to_owned()).or_default().next.push_back(step);
    }

    /// Requests to this path get this step whenever there is no other.
    pub fn respond_always(&self, path: &str, step: MockResponse) {
        locked(&self.script).entry(path.to_owned()).or_default().always = Some(step);
    }

    /// Everything asked so far, in its order.
    #[must_use]
    pub fn seen(&self) -> Vec<RecordedRequest> {
        locked(&self.seen).clone()
    }

    /// How many requests there were to this path.
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
        write!(f, "ScriptedTransport({} requests seen)", locked(&self.seen).len())
    }
}

#[async_trait]
impl Transport for MockTransport {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let (head, body) = request.into_http().into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let step = locked(&self.script)
            .get_mut(&path)
            .and_then(|steps| steps.next.pop_front().or(steps.always.clone()));
        locked(&self.seen).push(RecordedRequest { method: head.method.to_string(), path, query, body });
        match step {
            Some(MockResponse::Reply(status, body)) => Ok(RawResponse::new(status, body)),
            Some(MockResponse::Fail(error)) => Err(error),
            Some(MockResponse::Hang) => pending().await,
            None => Err(TransportError::before_sending(
                TransportErrorKind::Other,
                "the script has no step for this path",
            )),
        }
    }
}
