//! The transport, and how it is built.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{Client, Proxy, Request, Response, Url, redirect, retry};
use rustls::ClientConfig;
use wxsub_core::clock::{Clock, ClockReading, SystemClock, timeout_at};
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{
    HttpRequest, IGNORED_BODY_TIMEOUT, LimitedBody, Transport, TransportError, TransportErrorKind,
    TransportLimits, date_of, retry_after_of,
};
use wxsub_tls::{BuildError, FromSettings, TransportBuilder};

use crate::error::{ConnectTarget, describe, transport_error};

/// Builds a [`ReqwestTransport`].
pub type ReqwestTransportBuilder = TransportBuilder<ReqwestTransport>;

/// Builds a client with every relevant setting, including those that equal the default.
///
/// Another crate in the same program can enable features of reqwest: HTTP/2, decompression, system proxies, another
/// resolver. Such a feature changes the defaults of reqwest, but not the settings here.
fn build_client(limits: TransportLimits, tls: ClientConfig, proxy: Option<Proxy>) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .no_hickory_dns()
        .connect_timeout(limits.connect)
        .timeout(limits.request_timeout)
        .pool_idle_timeout(limits.pool_idle_timeout)
        .tls_backend_preconfigured(tls);
    match proxy {
        Some(proxy) => builder.proxy(proxy).build(),
        None => builder.build(),
    }
}

/// The client, whose pool keeps the connections, and what the next client is made of.
struct Pool {
    client: Client,
    /// When the last request began.
    used_at: ClockReading,
    tls: ClientConfig,
    proxy: Option<Proxy>,
}

/// A [`Transport`] over reqwest. Requests may run concurrently; clones share one connection pool.
///
/// It needs a tokio runtime with I/O and timers enabled. It never sends a request twice: reqwest's own retries are off.
/// If a pooled connection closes before the first byte of a request is written, the request goes out on another one.
/// Connections from before a suspend of the machine are not used.
// The pool is omitted: the Debug output of its client may contain the proxy password.
#[derive(Clone, derive_more::Debug)]
#[debug("ReqwestTransport({limits:?}, {target:?})")]
pub struct ReqwestTransport {
    pool: Arc<Mutex<Pool>>,
    clock: Arc<dyn Clock>,
    limits: TransportLimits,
    target: ConnectTarget,
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
    pub fn builder() -> ReqwestTransportBuilder {
        ReqwestTransportBuilder::default()
    }

    /// The client of a request that begins now. If no request began for the idle timeout, it has no old connections: reqwest
    /// counts that time on a clock that stands still while the machine is suspended, and the server may have closed them.
    fn client(&self) -> Client {
        let now = self.clock.now();
        let mut pool = self.pool.lock();
        if (pool.used_at + self.limits.pool_idle_timeout).is_past(now)
            && let Ok(client) = build_client(self.limits, pool.tls.clone(), pool.proxy.clone())
        {
            pool.client = client;
        }
        pool.used_at = now;
        pool.client.clone()
    }

    async fn read_body(&self, mut response: Response, max_bytes: usize) -> Result<Bytes, TransportError> {
        let limits = self.limits.body_bytes(max_bytes);
        let mut body = LimitedBody::new(&limits, response.content_length(), response.headers())?;
        while let Some(piece) = self.map_error(response.chunk().await)? {
            body.push(piece)?;
        }
        Ok(body.finish())
    }

    /// Reads the body, so that the connection is used again. After the timeout the connection is closed.
    async fn read_ignored_body(&self, response: Response) -> Bytes {
        let clock = SystemClock::new();
        let deadline = clock.now().mono + IGNORED_BODY_TIMEOUT;
        let body = timeout_at(&clock, deadline, self.read_body(response, self.limits.body_bytes)).await;
        body.and_then(Result::ok).unwrap_or_default()
    }

    fn map_error<T>(&self, result: reqwest::Result<T>) -> Result<T, TransportError> {
        result.map_err(|error| transport_error(error, self.target))
    }
}

impl FromSettings for ReqwestTransport {
    type Proxy = Proxy;

    fn parse_proxy(url: &str) -> Option<Proxy> {
        let url = Url::parse(url).ok()?;
        let has_only_authority =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        Proxy::all(url).ok().filter(|_| is_http && has_only_authority)
    }

    fn from_settings(
        limits: TransportLimits,
        tls: ClientConfig,
        proxy: Option<Proxy>,
    ) -> Result<Self, BuildError> {
        let target = if proxy.is_some() { ConnectTarget::Proxy } else { ConnectTarget::Server };
        let client = build_client(limits, tls.clone(), proxy.clone())
            .map_err(|error| BuildError::Library(describe(&error.without_url())))?;
        let clock = SystemClock::new();
        let pool = Pool { client, used_at: clock.now(), tls, proxy };
        Ok(Self { pool: Arc::new(Mutex::new(pool)), clock: Arc::new(clock), limits, target })
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
        let ignores_body = request.ignores_response_body();
        let max_bytes = request.limits(self.limits).body_bytes;
        let request = to_reqwest_request(request);
        Box::pin(async move {
            let request = request.ok_or_else(|| {
                TransportError::before_sending(
                    TransportErrorKind::Other,
                    "reqwest cannot parse the request URL",
                )
            })?;
            let response = self.map_error(self.client().execute(request).await)?;
            let status = response.status().as_u16();
            let (date, retry_after) = (date_of(response.headers()), retry_after_of(response.headers()));
            let body = match ignores_body {
                true => self.read_ignored_body(response).await,
                false => self.read_body(response, max_bytes).await?,
            };
            Ok(RawResponse::new(status, body).with_date(date).with_retry_after(retry_after))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wxsub_core::proto::codec;
    use wxsub_core::testing::ManualClock;
    use wxsub_core::testing::faulty_server::{FaultyServer, ScriptStep};
    use wxsub_tls::Roots;

    use super::*;

    /// While the machine is suspended, its monotonic clock stands still, and the server closes the connection.
    #[tokio::test]
    async fn connection_from_before_a_suspend_is_not_used() {
        let (server, clock) =
            (FaultyServer::responding(ScriptStep::Echo).await, Arc::new(ManualClock::new()));
        let transport = ReqwestTransport::builder().roots(Roots::Bundled).build().unwrap();
        transport.pool.lock().used_at = clock.now();
        let idle_timeout = transport.limits.pool_idle_timeout;
        let transport = ReqwestTransport { clock: clock.clone(), ..transport };
        for (suspend, connections) in
            [(0, 1), (idle_timeout.as_secs() - 1, 1), (idle_timeout.as_secs(), 2), (0, 2)]
        {
            clock.set_forward(Duration::from_secs(suspend));
            let request = codec::Request::post("/", Vec::new(), b"{}".to_vec());
            let request = HttpRequest::new(&server.base_url(""), request).unwrap();
            assert_eq!(transport.execute(request).await.unwrap().body, "{}");
            // The connection returns to the pool.
            clock.advance_and_run(Duration::ZERO).await;
            assert_eq!(server.connections(), connections);
        }
    }
}
