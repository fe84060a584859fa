//! Making a connection. Whatever fails here has sent nothing, and each step knows what its failure is called.

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
use wxsub_core::transport::{TransportError, TransportFault, causes, chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

use crate::deadline::within;
use crate::proxy::Proxy;
use resolver::{Resolver, Unresolved};
pub(crate) use stream::Stream;

/// Makes connections.
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: TlsConnector,
    proxy: Option<Proxy>,
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfig, proxy: Option<Proxy>, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among a host's addresses, so that a dead one leaves time for the others.
        tcp.set_connect_timeout(Some(limit));
        Self { tcp, tls: TlsConnector::from(Arc::new(tls)), proxy, limit }
    }

    pub(crate) fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// A connection to where this URI leads.
    pub(crate) async fn connect(&self, to: &Uri) -> Result<Stream, TransportError> {
        within(self.limit, pin!(self.reach_and_shake(to))).await.unwrap_or_else(|| Err(self.too_late()))
    }

    async fn reach_and_shake(&self, to: &Uri) -> Result<Stream, TransportError> {
        let over_tls = to.scheme() == Some(&Scheme::HTTPS);
        let tcp = match &self.proxy {
            Some(proxy) if over_tls => self.tunnel(proxy, to).await?,
            Some(proxy) => self.reach(&proxy.uri).await?,
            None => self.reach(to).await?,
        };
        if !over_tls {
            return Ok(Stream::plain(tcp));
        }
        let name = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            TransportError::before_sending(TransportFault::Tls, "no certificate can be for such a host name")
        })?;
        let shaken = self.tls.connect(name, tcp).await;
        shaken.map(Stream::tls).map_err(|error| self.not_shaken(&error))
    }

    async fn reach(&self, to: &Uri) -> Result<TcpStream, TransportError> {
        let reached = self.tcp.clone().call(to.clone()).await;
        reached.map(|stream| stream.into_inner()).map_err(|error| self.not_reached(&error))
    }

    /// Asks the proxy for a way through.
    async fn tunnel(&self, proxy: &Proxy, to: &Uri) -> Result<TcpStream, TransportError> {
        let mut tunnel = Tunnel::new(proxy.uri.clone(), self.tcp.clone());
        if let Some(credentials) = &proxy.credentials {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let open = tunnel.call(to.clone()).await;
        open.map(|stream| stream.into_inner()).map_err(|error| self.not_reached(&error))
    }

    fn not_reached(&self, error: &(dyn Error + 'static)) -> TransportError {
        let fault = if self.proxy.is_some() {
            // Only the proxy's name is resolved here, and only the proxy is connected to.
            TransportFault::Proxy
        } else if chain(error).any(|cause| cause.is::<Unresolved>()) {
            TransportFault::Dns
        } else {
            TransportFault::Connect
        };
        TransportError::before_sending(fault, causes(chain(error)))
    }

    fn not_shaken(&self, error: &(dyn Error + 'static)) -> TransportError {
        let said = causes(chain(error));
        match classify_tls_error(error) {
            Some(TlsErrorKind::Certificate(reason)) => {
                TransportError::before_sending(TransportFault::Certificate, format!("{reason}; {said}"))
            }
            // The tunnel ended, and it is the proxy's.
            None if self.proxy.is_some() => TransportError::before_sending(TransportFault::Proxy, said),
            _ => TransportError::before_sending(TransportFault::Tls, said),
        }
    }

    fn too_late(&self) -> TransportError {
        let fault = if self.proxy.is_some() { TransportFault::Proxy } else { TransportFault::Connect };
        TransportError::before_sending(fault, format!("no connection within {:?}", self.limit))
    }
}
