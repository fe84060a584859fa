use std::fmt;

use wxsub_core::transport::Limits;
use wxsub_tls::{Roots, TlsConfigError, client_config};

use crate::HyperTransport;
use crate::connect::Connector;
use crate::proxy::Proxy;

/// No transport could be made. Never holds a URL or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nobody to trust.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The proxy's URL cannot be used.
    #[error("the proxy's URL cannot be used: it must be http://[user:password@]host[:port]")]
    InvalidProxyUrl,
}

/// Makes a [`HyperTransport`]. Nothing is read from the environment, and nothing starts before the first exchange.
#[derive(Default)]
pub struct HyperTransportBuilder {
    limits: Limits,
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
    /// What one exchange may cost.
    ///
    /// Keep [`connect`](Limits::connect) shorter than [`total`](Limits::total): a total limit that ends a connect cannot
    /// be told from one that ends an exchange, so it counts as maybe sent.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Which certificate authorities to trust. This machine's, unless told otherwise.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Goes through this HTTP proxy: `http://[user:password@]host[:port]`. Calls to `https://` pass through it unread
    /// (`CONNECT`); calls to `http://` do not. Without this there is no proxy, whatever the environment says.
    ///
    /// # Errors
    /// [`BuildError::InvalidProxyUrl`] if the URL is not of that form.
    pub fn proxy(mut self, url: &str) -> Result<Self, BuildError> {
        self.proxy = Some(Proxy::parse(url).ok_or(BuildError::InvalidProxyUrl)?);
        Ok(self)
    }

    /// The transport. [`Roots::System`] reads files here.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if there are no certificate authorities to trust.
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
    fn a_proxy_url_that_cannot_be_used_is_refused_without_being_shown() {
        for bad in [
            "",
            "PLANTED",
            "10.0.0.1:3128",
            "socks5://user:PLANTED@proxy:1080",
            "https://user:PLANTED@proxy",
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
        for good in ["http://proxy", "http://user:PLANTED@[::1]:3128/", "HTTP://user:PLANTED@proxy:8080"] {
            let builder = HyperTransportBuilder::default().roots(Roots::Bundled).proxy(good).unwrap();
            assert!(!format!("{builder:?}").contains("PLANTED"));
            let transport = builder.build().unwrap();
            assert!(!format!("{transport:?}").contains("PLANTED"));
        }
    }

    #[test]
    fn no_roots_no_transport() {
        let error = HyperTransportBuilder::default().roots(Roots::Pem(Vec::new())).build().unwrap_err();
        assert_eq!(error, BuildError::Tls(TlsConfigError::EmptyPem));
    }
}
