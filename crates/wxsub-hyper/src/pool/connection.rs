use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use wxsub_core::transport::{TransportError, TransportFault};

use super::Destination;
use crate::connect::Connector;
use crate::failure;

/// One connection to one host.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    to: Destination,
    host: HeaderValue,
    /// Whether it has brought a reply before.
    pub(super) used: bool,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// The connection turned out to be closed; not one byte of the request was written.
    Unsent(Box<Request<Full<Bytes>>>),
    Failed(TransportError),
}

impl Connection {
    /// Opens one to there.
    pub(super) async fn open(connector: &Connector, to: &Destination) -> Result<Self, TransportError> {
        let (Some(to), Some(host)) = (to.copied(), to.host()) else {
            let nowhere = "the URL names no host that can be called";
            return Err(TransportError::before_sending(TransportFault::Other, nowhere));
        };
        let stream = connector.connect(&to.uri()).await?;
        let (mut sender, driver) =
            http1::handshake(stream).await.map_err(|error| failure::before_request(&error))?;
        TokioExecutor::new().execute(async {
            // Whoever waits for a reply is told why there is none.
            let _ = driver.await;
        });
        sender.ready().await.map_err(|error| failure::before_request(&error))?;
        Ok(Self { sender, to, host, used: false })
    }

    pub(super) fn leads_to(&self, to: &Destination) -> bool {
        self.to == *to
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends the request and waits for the head of the reply. It is hyper's own future: one around it would need its room
    /// twice.
    pub(crate) fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> + use<> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.try_send_request(request)
    }

    /// What it means that no head came.
    pub(crate) fn unanswered(&self, mut error: TrySendError<Request<Full<Bytes>>>) -> Unanswered {
        match error.take_message() {
            Some(request) if self.used => Unanswered::Unsent(Box::new(request)),
            Some(_) => Unanswered::Failed(failure::before_request(&error.into_error())),
            None => Unanswered::Failed(failure::without_reply(&error.into_error())),
        }
    }
}
