use std::fmt;
use std::mem::take;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use wxsub_core::proto::codec::RawReply;
use wxsub_core::transport::{
    Limits, Outgoing, ReplyBody, Transport, TransportError, TransportFault, date_of,
};

use crate::connect::Connector;
use crate::connections::{Connections, Destination, Unanswered};
use crate::deadline::within;
use crate::failure::within_body;
use crate::{Builder, SetupError};

/// One HTTP exchange at a time over hyper, or as many at once as you like; clones share their connections.
///
/// Needs a tokio runtime with its I/O and timer enabled. Nothing is sent twice. Only a request that was given to a kept
/// connection and of which not one byte had been written when that connection turned out to be closed goes out on another
/// one.
#[derive(Clone)]
pub struct HyperTransport {
    connections: Arc<Connections>,
    limits: Limits,
    proxied: bool,
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
        let proxied = connector.is_proxied();
        Self { connections: Connections::new(connector, limits.idle), limits, proxied, credentials }
    }

    /// What the request becomes on the wire, and where it goes.
    fn addressed(&self, request: Outgoing) -> (Destination, Request<Full<Bytes>>) {
        let mut request = request.into_http().map(Full::new);
        let (to, path) = Destination::of(take(request.uri_mut()));
        if self.proxied && !to.is_over_tls() {
            // The proxy reads it, and is told whom it is for and who asks.
            *request.uri_mut() = to.asking(path);
            if let Some(credentials) = &self.credentials {
                request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
            }
        } else {
            *request.uri_mut() = Uri::from(path);
        }
        (to, request)
    }

    /// The request is lent, so that a future has room for one and not for several.
    async fn reply_to(
        &self,
        to: &Destination,
        request: &mut Request<Full<Bytes>>,
    ) -> Result<RawReply<Bytes>, TransportError> {
        loop {
            let mut connection = self.connections.to(to).await?;
            match connection.send(take(request)).await {
                Ok(mut response) => {
                    let reply = self.read(&mut response).await?;
                    self.connections.keep(connection);
                    return Ok(reply);
                }
                Err(error) => match connection.unanswered(error) {
                    Unanswered::Unsent(unsent) => *request = *unsent,
                    Unanswered::Failed(error) => return Err(error),
                },
            }
        }
    }

    async fn read(&self, response: &mut Response<Incoming>) -> Result<RawReply<Bytes>, TransportError> {
        let length = response.body().size_hint().exact();
        let mut body = ReplyBody::begin(&self.limits, length, response.headers())?;
        while let Some(frame) = response.body_mut().frame().await {
            // A frame without data is a trailer.
            if let Ok(piece) = frame.map_err(|error| within_body(&error))?.into_data() {
                body.take(piece)?;
            }
        }
        let date = date_of(response.headers());
        Ok(RawReply::new(response.status().as_u16(), body.whole()).dated(date))
    }
}

type Exchange<'a> = Pin<Box<dyn Future<Output = Result<RawReply<Bytes>, TransportError>> + Send + 'a>>;

impl Transport for HyperTransport {
    // Written out, as #[async_trait] would, so that the request becomes what it is on the wire before there is a future:
    // one that has room for both comes from a slower part of the allocator.
    fn exchange<'a, 'b>(&'a self, request: Outgoing) -> Exchange<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let (to, mut request) = self.addressed(request);
        Box::pin(async move {
            match within(self.limits.total, pin!(self.reply_to(&to, &mut request))).await {
                Some(reply) => reply,
                None => {
                    let detail = format!("not within {:?}", self.limits.total);
                    Err(TransportError::maybe_sent(TransportFault::Timeout, detail))
                }
            }
        })
    }
}
