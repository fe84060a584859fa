//! Opens connections: DNS, TCP, proxy tunnel and TLS. An error in any of these steps means that nothing was sent.

use std::error::Error;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Sleep, Timer};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;
use wxsub_core::transport::{TransportError, TransportErrorKind, chain, format_chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

use crate::proxy::Proxy;

/// Opens connections, through the proxy if there is one, within one timeout.
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: TlsConnector,
    proxy: Option<Proxy>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfig, proxy: Option<Proxy>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // hyper-util divides this among the addresses of a host, so an unreachable one leaves time for the others.
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, tls: TlsConnector::from(Arc::new(tls)), proxy, timeout }
    }

    /// Opens a connection to the host of `uri`.
    pub(crate) async fn connect(&self, uri: &Uri) -> Result<Stream, TransportError> {
        before(&mut deadline_in(self.timeout), pin!(self.connect_stream(uri)))
            .await
            .unwrap_or_else(|| Err(self.timeout_error()))
    }

    async fn connect_stream(&self, uri: &Uri) -> Result<Stream, TransportError> {
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let stream = match &self.proxy {
            Some(proxy) if is_tls => self.open_tunnel(proxy, uri).await?,
            Some(proxy) => return self.connect_proxy(proxy).await,
            None => self.connect_tcp(uri).await?,
        };
        if is_tls { self.handshake(uri, stream).await } else { Ok(stream) }
    }

    async fn connect_tcp(&self, uri: &Uri) -> Result<Stream, TransportError> {
        let connected = self.tcp.clone().call(uri.clone()).await;
        match connected {
            Ok(tcp) => Ok(TokioIo::new(Box::new(tcp.into_inner()))),
            Err(error) => Err(self.tcp_error(&error)),
        }
    }

    async fn connect_proxy(&self, proxy: &Proxy) -> Result<Stream, TransportError> {
        let tcp = self.connect_tcp(&proxy.uri).await?;
        match proxy.uri.scheme() == Some(&Scheme::HTTPS) {
            true => self.handshake(&proxy.uri, tcp).await,
            false => Ok(tcp),
        }
    }

    /// Opens a `CONNECT` tunnel through the proxy.
    async fn open_tunnel(&self, proxy: &Proxy, uri: &Uri) -> Result<Stream, TransportError> {
        let stream = self.connect_proxy(proxy).await?;
        let mut connector = Tunnel::new(proxy.uri.clone(), OpenConnection(Some(stream)));
        if let Some(credentials) = &proxy.credentials {
            connector = connector.with_auth(credentials.clone());
        }
        connector.call(uri.clone()).await.map_err(|error| self.tcp_error(&error))
    }

    /// Starts TLS with the host of `uri` over this connection.
    async fn handshake(&self, uri: &Uri, stream: Stream) -> Result<Stream, TransportError> {
        let name = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            TransportError::before_sending(
                TransportErrorKind::Tls,
                "host name is not valid for TLS; use a DNS name or an IP address",
            )
        })?;
        match self.tls.connect(name, stream.into_inner()).await {
            Ok(tls) => Ok(TokioIo::new(Box::new(tls))),
            Err(error) => Err(self.tls_error(&error)),
        }
    }

    fn tcp_error(&self, error: &(dyn Error + 'static)) -> TransportError {
        let kind = if self.proxy.is_some() {
            // With a proxy, this machine resolves and connects to the proxy only.
            TransportErrorKind::Proxy
        } else if chain(error).any(|cause| cause.is::<ResolveError>()) {
            TransportErrorKind::Dns
        } else {
            TransportErrorKind::Connect
        };
        TransportError::before_sending(kind, format_chain(chain(error)))
    }

    fn tls_error(&self, error: &(dyn Error + 'static)) -> TransportError {
        let detail = format_chain(chain(error));
        match classify_tls_error(error) {
            Some(TlsErrorKind::Certificate(reason)) => {
                TransportError::before_sending(TransportErrorKind::Certificate, format!("{reason}; {detail}"))
            }
            // The tunnel ended without a TLS error, so the proxy closed it.
            None if self.proxy.is_some() => TransportError::before_sending(TransportErrorKind::Proxy, detail),
            _ => TransportError::before_sending(TransportErrorKind::Tls, detail),
        }
    }

    fn timeout_error(&self) -> TransportError {
        let kind = if self.proxy.is_some() { TransportErrorKind::Proxy } else { TransportErrorKind::Connect };
        TransportError::before_sending(kind, format!("no connection within {:?}", self.timeout))
    }
}

/// A connector that returns one connection that is already open.
struct OpenConnection(Option<Stream>);

impl Service<Uri> for OpenConnection {
    type Response = Stream;
    type Error = io::Error;
    type Future = Ready<io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// An open connection, plain or over TLS. A tunnel through a proxy that speaks TLS is TLS over TLS.
pub(crate) type Stream = TokioIo<Box<dyn ByteStream>>;

pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// The system's resolver, with an error type that distinguishes DNS errors from TCP errors.
#[derive(Clone)]
struct Resolver(GaiResolver);

/// The host name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct ResolveError(#[from] io::Error);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, ResolveError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        self.0.poll_ready(context).map_err(ResolveError)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let addresses = self.0.call(name);
        Box::pin(async move { Ok(addresses.await?) })
    }
}

/// A time, on hyper's timer for tokio.
pub(crate) type Deadline = Pin<Box<dyn Sleep>>;

/// The deadline this much later.
pub(crate) fn deadline_in(limit: Duration) -> Deadline {
    TokioTimer::new().sleep(limit)
}

/// The output of `work`, or `None` if the deadline comes first.
///
/// `work` is borrowed, because moving a future into another doubles its size.
pub(crate) async fn before<T>(
    deadline: &mut Deadline,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.as_mut().poll(context).map(|()| None),
    })
    .await
}
