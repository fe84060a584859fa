//! The transport, and how it is built.

use std::mem::take;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio_rustls::rustls::ClientConfig;
use wxsub_core::clock::SystemClock;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{
    HttpRequest, IGNORED_BODY_TIMEOUT, LimitedBody, Transport, TransportError, TransportErrorKind,
    TransportLimits, date_of, retry_after_of,
};
use wxsub_tls::{BuildError, FromSettings, TransportBuilder};

use crate::connect::{Connector, before, deadline_in};
use crate::error::body_error;
use crate::pool::{Connection, ConnectionPool, PoolKey};
use crate::proxy::Proxy;

/// Builds a [`HyperTransport`].
pub type HyperTransportBuilder = TransportBuilder<HyperTransport>;

/// A [`Transport`] over hyper. Requests may run concurrently; clones share one connection pool.
///
/// It needs a tokio runtime with I/O and timers enabled. It never sends a request twice. If a pooled connection closes
/// before the first byte of a request is written, the request goes out on another one.
#[derive(Clone, derive_more::Debug)]
#[debug("HyperTransport({limits:?})")]
pub struct HyperTransport {
    pool: Arc<ConnectionPool>,
    limits: TransportLimits,
    is_proxied: bool,
    /// The `proxy-authorization` header of requests to `http://`.
    credentials: Option<HeaderValue>,
}

impl HyperTransport {
    /// A transport with default limits, this machine's certificate authorities and no proxy.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if this machine has no usable certificate authority.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A builder, for other limits, roots or a proxy.
    pub fn builder() -> HyperTransportBuilder {
        HyperTransportBuilder::default()
    }

    /// Converts the request into its wire form and returns the pool key of its host.
    fn prepare_request(&self, request: HttpRequest) -> (PoolKey, Request<Full<Bytes>>) {
        let mut request = request.into_http().map(Full::new);
        let (key, path) = PoolKey::split_uri(take(request.uri_mut()));
        if self.is_proxied && !key.is_tls {
            // The proxy forwards this request, so it needs the absolute URI and the credentials.
            *request.uri_mut() = key.uri_for(path);
            if let Some(credentials) = &self.credentials {
                request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
            }
        } else {
            *request.uri_mut() = Uri::from(path);
        }
        (key, request)
    }

    /// Sends the request and returns the head of the response with its connection. `request` is borrowed, which keeps the
    /// future small.
    async fn send_request(
        &self,
        key: &PoolKey,
        request: &mut Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Box<Connection>), TransportError> {
        loop {
            let mut connection = self.pool.checkout(key).await?;
            match connection.send(take(request)).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) => *request = connection.unsent_request(error)?,
            }
        }
    }

    async fn read_body(
        &self,
        response: &mut Response<Incoming>,
        max_bytes: usize,
    ) -> Result<Bytes, TransportError> {
        let length = response.body().size_hint().exact();
        let mut body = LimitedBody::new(&self.limits.body_bytes(max_bytes), length, response.headers())?;
        while let Some(frame) = response.body_mut().frame().await {
            // A frame without data is a trailer.
            if let Ok(piece) = frame.map_err(|error| body_error(&error))?.into_data() {
                body.push(piece)?;
            }
        }
        Ok(body.finish())
    }

    fn timeout_error(&self) -> TransportError {
        let detail = format!("no complete response within {:?}", self.limits.request_timeout);
        TransportError::maybe_sent(TransportErrorKind::Timeout, detail)
    }
}

impl FromSettings for HyperTransport {
    type Proxy = Proxy;

    fn parse_proxy(url: &str) -> Option<Proxy> {
        Proxy::parse(url)
    }

    fn from_settings(
        limits: TransportLimits,
        tls: ClientConfig,
        proxy: Option<Proxy>,
    ) -> Result<Self, BuildError> {
        let is_proxied = proxy.is_some();
        let credentials = proxy.as_ref().and_then(|proxy| proxy.credentials.clone());
        let connector = Connector::new(tls, proxy, limits.connect);
        let pool = ConnectionPool::new(connector, limits.pool_idle_timeout, SystemClock::new());
        Ok(Self { pool, limits, is_proxied, credentials })
    }
}

type ResponseFuture<'a> =
    Pin<Box<dyn Future<Output = Result<RawResponse<Bytes>, TransportError>> + Send + 'a>>;

impl Transport for HyperTransport {
    // Written without #[async_trait], so that the conversion happens before the future exists. A future that holds both
    // forms of the request is larger and takes a slower path of the allocator.
    fn execute<'a, 'b>(&'a self, request: HttpRequest) -> ResponseFuture<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let ignores_body = request.ignores_response_body();
        let max_bytes = request.limits(self.limits).body_bytes;
        let (key, mut request) = self.prepare_request(request);
        Box::pin(async move {
            let mut deadline = deadline_in(self.limits.request_timeout);
            let (mut response, connection) = {
                let sending = pin!(self.send_request(&key, &mut request));
                before(&mut deadline, sending).await.unwrap_or_else(|| Err(self.timeout_error()))?
            };
            if ignores_body {
                deadline = deadline_in(IGNORED_BODY_TIMEOUT);
            }
            let body = {
                let reading = pin!(self.read_body(&mut response, max_bytes));
                before(&mut deadline, reading).await.unwrap_or_else(|| Err(self.timeout_error()))
            };
            // After an error, the rest of the body is on the connection, so it is not used again.
            if body.is_ok() {
                self.pool.checkin(connection);
            }
            let body = match body {
                Err(_) if ignores_body => Bytes::new(),
                body => body?,
            };
            let (date, retry_after) = (date_of(response.headers()), retry_after_of(response.headers()));
            let response = RawResponse::new(response.status().as_u16(), body);
            Ok(response.with_date(date).with_retry_after(retry_after))
        })
    }
}
