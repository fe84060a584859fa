//! Opens connections: DNS, TCP, proxy tunnel and TLS. An error in any of these steps means that nothing was sent.

mod resolver;
mod stream;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;
use wxsub_core::transport::{TransportError, TransportErrorKind, chain, format_chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

use crate::proxy::Proxy;
use crate::timeout::timeout;
use resolver::{ResolveError, Resolver};
pub(crate) use stream::Stream;

/// Opens connections, through the proxy if there is one, within one timeout.
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: TlsConnector,
    proxy: Option<Proxy>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfig, proxy: Option<Proxy>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // hyper-util divides this among the addresses of a host, so an unreachable one leaves time for the others.
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, tls: TlsConnector::from(Arc::new(tls)), proxy, timeout }
    }

    pub(crate) fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Opens a connection to the host of `uri`.
    pub(crate) async fn connect(&self, uri: &Uri) -> Result<Stream, TransportError> {
        timeout(self.timeout, pin!(self.connect_stream(uri)))
            .await
            .unwrap_or_else(|| Err(self.timeout_error()))
    }

    async fn connect_stream(&self, uri: &Uri) -> Result<Stream, TransportError> {
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let tcp = match &self.proxy {
            Some(proxy) if is_tls => self.open_tunnel(proxy, uri).await?,
            Some(proxy) => self.connect_tcp(&proxy.uri).await?,
            None => self.connect_tcp(uri).await?,
        };
        if !is_tls {
            return Ok(Stream::plain(tcp));
        }
        let name = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            TransportError::before_sending(
                TransportErrorKind::Tls,
                "host name is not valid for TLS; use a DNS name or an IP address",
            )
        })?;
        let connected = self.tls.connect(name, tcp).await;
        connected.map(Stream::tls).map_err(|error| self.tls_error(&error))
    }

    async fn connect_tcp(&self, uri: &Uri) -> Result<TcpStream, TransportError> {
        let connected = self.tcp.clone().call(uri.clone()).await;
        connected.map(|stream| stream.into_inner()).map_err(|error| self.tcp_error(&error))
    }

    /// Opens a `CONNECT` tunnel through the proxy.
    async fn open_tunnel(&self, proxy: &Proxy, uri: &Uri) -> Result<TcpStream, TransportError> {
        let mut connector = Tunnel::new(proxy.uri.clone(), self.tcp.clone());
        if let Some(credentials) = &proxy.credentials {
            connector = connector.with_auth(credentials.clone());
        }
        let tunnel = connector.call(uri.clone()).await;
        tunnel.map(|stream| stream.into_inner()).map_err(|error| self.tcp_error(&error))
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
