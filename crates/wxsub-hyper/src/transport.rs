use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wxsub_core::proto::codec::RawReply;
use wxsub_core::transport::{
    Limits, Outgoing, ReplyBody, Transport, TransportError, TransportFault, date_of,
};

use crate::connect::Connector;
use crate::deadline::within;
use crate::failure::{within_body, without_reply};
use crate::{Builder, SetupError};

/// One HTTP exchange at a time over hyper, or as many at once as you like; clones share their connections.
///
/// Needs a tokio runtime with its I/O and timer enabled. Nothing is sent twice. The connection pool does one thing by
/// itself: a request that was queued on a kept connection and of which not one byte had been written when that
/// connection turned out to be closed goes out on another one.
#[derive(Clone)]
pub struct HyperTransport {
    client: Client<Connector, Full<Bytes>>,
    limits: Limits,
    /// For the proxy, with calls that it reads.
    credentials: Option<HeaderValue>,
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl HyperTransport {
    /// With the default limits, this machine's certificate authorities and no proxy.
    ///
    /// # Errors
    /// [`SetupError::Tls`] if this machine has no certificate authorities.
    pub fn new() -> Result<Self, SetupError> {
        Self::builder().build()
    }

    /// With other limits, roots, or a proxy.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn of(connector: Connector, limits: Limits, credentials: Option<HeaderValue>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .retry_canceled_requests(true)
            .build(connector);
        Self { client, limits, credentials }
    }

    async fn reply_to(&self, request: Request<Full<Bytes>>) -> Result<RawReply<Bytes>, TransportError> {
        let response = self.client.request(request).await.map_err(|error| without_reply(&error))?;
        let status = response.status().as_u16();
        let date = date_of(response.headers());
        let length = response.body().size_hint().exact();
        let mut body = ReplyBody::begin(&self.limits, length, response.headers())?;
        let mut incoming = response.into_body();
        while let Some(frame) = incoming.frame().await {
            // A frame without data is a trailer.
            if let Ok(piece) = frame.map_err(|error| within_body(&error))?.into_data() {
                body.take(piece)?;
            }
        }
        Ok(RawReply::new(status, body.whole()).dated(date))
    }
}

#[async_trait]
impl Transport for HyperTransport {
    async fn exchange(&self, request: Outgoing) -> Result<RawReply<Bytes>, TransportError> {
        let mut request = request.into_http().map(Full::new);
        if let Some(credentials) = &self.credentials
            && request.uri().scheme() == Some(&Scheme::HTTP)
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        match within(self.limits.total, self.reply_to(request)).await {
            Some(reply) => reply,
            None => {
                let detail = format!("not within {:?}", self.limits.total);
                Err(TransportError::maybe_sent(TransportFault::Timeout, detail))
            }
        }
    }
}
