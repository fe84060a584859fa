use std::fmt;

use wxsub_core::proto::ValidationErrors;
use wxsub_core::transport::TransportLimits;
use wxsub_tls::{Roots, TlsConfigError, client_config};

use crate::HyperTransport;
use crate::connect::Connector;
use crate::proxy::Proxy;

/// Why no transport or client was built. Never contains a URL or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// AppID or AppSecret is invalid.
    #[error(transparent)]
    Invalid(#[from] ValidationErrors),
    /// No usable certificate authority was found.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The proxy URL has another form than [`proxy`](HyperTransportBuilder::proxy) accepts.
    #[error(
        "invalid proxy URL; use http://[user:password@]host[:port] or https://[user:password@]host[:port]"
    )]
    InvalidProxyUrl,
}

/// Builds a [`HyperTransport`].
///
/// It reads no environment variables, except those that [`Roots::System`] names. It starts no task and no connection.
#[derive(Default)]
pub struct HyperTransportBuilder {
    limits: TransportLimits,
    roots: Roots,
    proxy: Option<Proxy>,
}

impl fmt::Debug for HyperTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransportBuilder")
            .field("limits", &self.limits)
            .field("roots", &self.roots)
            .field("proxy", &self.proxy.is_some())
            .finish()
    }
}

impl HyperTransportBuilder {
    /// Sets the time and size limits of one request.
    ///
    /// Keep [`connect`](TransportLimits::connect) shorter than
    /// [`request_timeout`](TransportLimits::request_timeout). When the total limit ends a connect, the transport cannot
    /// distinguish that from a request in progress. It then reports the request as maybe sent.
    #[must_use]
    pub fn limits(mut self, limits: TransportLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the trusted certificate authorities. Default: [`Roots::System`].
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Sends every request through this HTTP proxy: `http://[user:password@]host[:port]`.
    ///
    /// Use `https://` for a proxy that speaks TLS itself. Requests to `https://` use a `CONNECT` tunnel, so the proxy
    /// cannot read them. It can read requests to `http://`. Default: no proxy; environment variables are ignored.
    ///
    /// # Errors
    /// [`BuildError::InvalidProxyUrl`] if `url` has another form.
    pub fn proxy(mut self, url: &str) -> Result<Self, BuildError> {
        self.proxy = Some(Proxy::parse(url).ok_or(BuildError::InvalidProxyUrl)?);
        Ok(self)
    }

    /// Builds the transport. [`Roots::System`] reads its files here.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if the roots contain no usable certificate authority.
    pub fn build(self) -> Result<HyperTransport, BuildError> {
        let tls = client_config(&self.roots)?;
        let credentials = self.proxy.as_ref().and_then(|proxy| proxy.credentials.clone());
        let connector = Connector::new(tls, self.proxy, self.limits.connect);
        Ok(HyperTransport::from_connector(connector, self.limits, credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_proxy_url_is_rejected_and_never_printed() {
        for bad in [
            "",
            "PLANTED",
            "10.0.0.1:3128",
            "socks5://user:PLANTED@proxy:1080",
            "ftp://user:PLANTED@proxy",
            "http://",
            "http://:3128",
            "http://user:PLANTED@",
            "http://user:PLANTED@proxy/path",
            "http://user:PLANTED@proxy?x",
            "http://user:PLANTED@proxy#x",
            "http://user:PLANTED@proxy:port",
            "http://user:PLANTED@proxy:65536",
        ] {
            let error = HyperTransportBuilder::default().proxy(bad).unwrap_err();
            assert_eq!(error, BuildError::InvalidProxyUrl, "{bad}");
            assert!(!format!("{error} {error:?}").contains("PLANTED"));
        }
        for good in [
            "http://proxy",
            "http://user:PLANTED@[::1]:3128/",
            "HTTP://user:PLANTED@proxy:8080",
            "https://user:PLANTED@proxy:8443",
        ] {
            let builder = HyperTransportBuilder::default().roots(Roots::Bundled).proxy(good).unwrap();
            assert!(!format!("{builder:?}").contains("PLANTED"));
            let transport = builder.build().unwrap();
            assert!(!format!("{transport:?}").contains("PLANTED"));
        }
    }

    #[test]
    fn build_fails_without_roots() {
        let error = HyperTransportBuilder::default().roots(Roots::Pem(Vec::new())).build().unwrap_err();
        assert_eq!(error, BuildError::Tls(TlsConfigError::EmptyPem));
    }
}
