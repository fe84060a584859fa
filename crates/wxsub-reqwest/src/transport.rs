use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use reqwest::{Client, Request, Response, Url};
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{
    HttpRequest, LimitedBody, Transport, TransportError, TransportErrorKind, TransportLimits, date_of,
    retry_after_of,
};

use crate::error::{ConnectTarget, transport_error};
use crate::{BuildError, ReqwestTransportBuilder};

/// A [`Transport`] over reqwest. Requests may run concurrently; clones share one connection pool.
///
/// It needs a tokio runtime with I/O and timers enabled. It never sends a request twice: reqwest's own retries are off.
/// If a pooled connection closes before the first byte of a request is written, the request goes out on another one.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: Client,
    limits: TransportLimits,
    target: ConnectTarget,
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client is omitted, because its Debug output may contain the proxy password.
        f.debug_struct("ReqwestTransport")
            .field("limits", &self.limits)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl ReqwestTransport {
    /// A transport with default limits, this machine's certificate authorities and no proxy.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if this machine has no usable certificate authority.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A builder, for other limits, roots or a proxy.
    #[must_use]
    pub fn builder() -> ReqwestTransportBuilder {
        ReqwestTransportBuilder::default()
    }

    pub(crate) fn from_client(client: Client, limits: TransportLimits, is_proxied: bool) -> Self {
        let target = if is_proxied { ConnectTarget::Proxy } else { ConnectTarget::Server };
        Self { client, limits, target }
    }

    async fn read_body(&self, mut response: Response) -> Result<Bytes, TransportError> {
        let mut body = LimitedBody::new(&self.limits, response.content_length(), response.headers())?;
        while let Some(piece) = self.map_error(response.chunk().await)? {
            body.push(piece)?;
        }
        Ok(body.finish())
    }

    fn map_error<T>(&self, result: reqwest::Result<T>) -> Result<T, TransportError> {
        result.map_err(|error| transport_error(error, self.target))
    }
}

type ResponseFuture<'a> =
    Pin<Box<dyn Future<Output = Result<RawResponse<Bytes>, TransportError>> + Send + 'a>>;

impl Transport for ReqwestTransport {
    // Written without #[async_trait], so that the future holds only reqwest's request and not ours as well.
    fn execute<'a, 'b>(&'a self, request: HttpRequest) -> ResponseFuture<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let request = to_reqwest_request(request);
        Box::pin(async move {
            let request = request.ok_or_else(|| {
                TransportError::before_sending(
                    TransportErrorKind::Other,
                    "reqwest cannot parse the request URL",
                )
            })?;
            let response = self.map_error(self.client.execute(request).await)?;
            let status = response.status().as_u16();
            let (date, retry_after) = (date_of(response.headers()), retry_after_of(response.headers()));
            Ok(RawResponse::new(status, self.read_body(response).await?)
                .with_date(date)
                .with_retry_after(retry_after))
        })
    }
}

/// Converts the request. Unlike reqwest's own conversion, it builds the URL text with one allocation.
fn to_reqwest_request(request: HttpRequest) -> Option<Request> {
    let (parts, body) = request.into_http().into_parts();
    let (scheme, authority) = (parts.uri.scheme_str()?, parts.uri.authority()?.as_str());
    let path = parts.uri.path_and_query()?.as_str();
    let mut request =
        Request::new(parts.method, Url::parse(&[scheme, "://", authority, path].concat()).ok()?);
    *request.headers_mut() = parts.headers;
    *request.body_mut() = Some(body.into());
    Some(request)
}
