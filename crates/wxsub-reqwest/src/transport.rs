use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use reqwest::{Client, Request, Response, Url};
use wxsub_core::proto::codec::RawReply;
use wxsub_core::transport::{
    Limits, Outgoing, ReplyBody, Transport, TransportError, TransportFault, date_of,
};

use crate::error::{ConnectTarget, transport_error};
use crate::{BuildError, ReqwestTransportBuilder};

/// One HTTP exchange at a time over reqwest, or as many at once as you like; clones share their connections.
///
/// Needs a tokio runtime with its I/O and timer enabled. Nothing is sent twice: reqwest's own retries are switched off.
/// What remains is the connection pool's: a request that was queued on a kept connection and of which not one byte had
/// been written when that connection turned out to be closed goes out on another one.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: Client,
    limits: Limits,
    target: ConnectTarget,
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: its Debug may show the proxy's password.
        f.debug_struct("ReqwestTransport")
            .field("limits", &self.limits)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl ReqwestTransport {
    /// With the default limits, this machine's certificate authorities and no proxy.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if this machine has no certificate authorities.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// With other limits, roots, or a proxy.
    #[must_use]
    pub fn builder() -> ReqwestTransportBuilder {
        ReqwestTransportBuilder::default()
    }

    pub(crate) fn from_client(client: Client, limits: Limits, is_proxied: bool) -> Self {
        let target = if is_proxied { ConnectTarget::Proxy } else { ConnectTarget::Server };
        Self { client, limits, target }
    }

    async fn read_body(&self, mut response: Response) -> Result<Bytes, TransportError> {
        let mut body = ReplyBody::begin(&self.limits, response.content_length(), response.headers())?;
        while let Some(piece) = self.map_error(response.chunk().await)? {
            body.take(piece)?;
        }
        Ok(body.whole())
    }

    fn map_error<T>(&self, result: reqwest::Result<T>) -> Result<T, TransportError> {
        result.map_err(|error| transport_error(error, self.target))
    }
}

type ResponseFuture<'a> = Pin<Box<dyn Future<Output = Result<RawReply<Bytes>, TransportError>> + Send + 'a>>;

impl Transport for ReqwestTransport {
    // Written out, as #[async_trait] would, so that the future has room for reqwest's request and not for ours as well.
    fn exchange<'a, 'b>(&'a self, request: Outgoing) -> ResponseFuture<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let request = to_reqwest_request(request);
        Box::pin(async move {
            let request = request.ok_or_else(|| {
                TransportError::before_sending(TransportFault::Other, "reqwest cannot read the request's URL")
            })?;
            let response = self.map_error(self.client.execute(request).await)?;
            let status = response.status().as_u16();
            let date = date_of(response.headers());
            Ok(RawReply::new(status, self.read_body(response).await?).dated(date))
        })
    }
}

/// As reqwest's own conversion makes it, which writes the URL piece by piece.
fn to_reqwest_request(request: Outgoing) -> Option<Request> {
    let (parts, body) = request.into_http().into_parts();
    let (scheme, authority) = (parts.uri.scheme_str()?, parts.uri.authority()?.as_str());
    let path = parts.uri.path_and_query()?.as_str();
    let mut request =
        Request::new(parts.method, Url::parse(&[scheme, "://", authority, path].concat()).ok()?);
    *request.headers_mut() = parts.headers;
    *request.body_mut() = Some(body.into());
    Some(request)
}
