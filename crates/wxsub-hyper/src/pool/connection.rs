use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use wxsub_core::transport::{TransportError, TransportErrorKind};

use super::PoolKey;
use crate::connect::Connector;
use crate::error;

/// An HTTP/1.1 connection to one host.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    key: PoolKey,
    host: HeaderValue,
    /// Whether this connection has already returned a complete response.
    pub(super) has_served: bool,
}

/// Why [`Connection::send`] returned no response.
pub(crate) enum SendFailure {
    /// The pooled connection was closed before the first byte was written. Holds the request, for another connection.
    NotSent(Box<Request<Full<Bytes>>>),
    /// The request failed.
    Failed(TransportError),
}

impl Connection {
    /// Opens a connection to the host of `key`.
    pub(super) async fn open(connector: &Connector, key: &PoolKey) -> Result<Self, TransportError> {
        let (Some(key), Some(host)) = (key.to_detached(), key.host_header()) else {
            let detail = "the URL has no valid host";
            return Err(TransportError::before_sending(TransportErrorKind::Other, detail));
        };
        let stream = connector.connect(&key.root_uri()).await?;
        let (mut sender, driver) =
            http1::handshake(stream).await.map_err(|error| error::connect_error(&error))?;
        TokioExecutor::new().execute(async {
            // The pending request receives the error as well.
            let _ = driver.await;
        });
        sender.ready().await.map_err(|error| error::connect_error(&error))?;
        Ok(Self { sender, key, host, has_served: false })
    }

    pub(super) fn matches(&self, key: &PoolKey) -> bool {
        self.key == *key
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends the request and waits for the response head.
    ///
    /// Returns hyper's own future, because an `async` block around it would double its size.
    pub(crate) fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> + use<> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.try_send_request(request)
    }

    /// Classifies the error of [`send`](Self::send).
    pub(crate) fn send_failure(&self, mut error: TrySendError<Request<Full<Bytes>>>) -> SendFailure {
        match error.take_message() {
            Some(request) if self.has_served => SendFailure::NotSent(Box::new(request)),
            Some(_) => SendFailure::Failed(error::connect_error(&error.into_error())),
            None => SendFailure::Failed(error::response_error(&error.into_error())),
        }
    }
}
