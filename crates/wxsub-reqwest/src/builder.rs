use std::fmt;

use reqwest::{Proxy, Url, redirect, retry};
use wxsub_core::transport::Limits;
use wxsub_tls::{Roots, TlsConfigError, client_config};

use crate::ReqwestTransport;

/// No transport could be made. Never holds a URL or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nobody to trust.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The proxy's URL cannot be used.
    #[error(
        "the proxy's URL cannot be used: it must be http://[user:password@]host[:port] or the same with https://"
    )]
    InvalidProxyUrl,
    /// reqwest refused.
    #[error("reqwest could not be set up: {0}")]
    Reqwest(String),
}

/// Makes a [`ReqwestTransport`]. Nothing is read from the environment, and nothing starts before the first exchange.
#[derive(Default)]
pub struct ReqwestTransportBuilder {
    limits: Limits,
    roots: Roots,
    proxy: Option<Proxy>,
}

impl fmt::Debug for ReqwestTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransportBuilder")
            .field("limits", &self.limits)
            .field("roots", &self.roots)
            .field("proxy", &self.proxy.is_some())
            .finish()
    }
}

impl ReqwestTransportBuilder {
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

    /// Goes through this HTTP proxy: `http://[user:password@]host[:port]`, or `https://` for a proxy that speaks TLS
    /// itself. Calls to `https://` pass through it unread (`CONNECT`); calls to `http://` do not. Without this there is
    /// no proxy, whatever the environment says.
    ///
    /// # Errors
    /// [`BuildError::InvalidProxyUrl`] if the URL is not of that form.
    pub fn proxy(mut self, url: &str) -> Result<Self, BuildError> {
        let url = Url::parse(url).map_err(|_| BuildError::InvalidProxyUrl)?;
        let has_only_authority =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !has_only_authority {
            return Err(BuildError::InvalidProxyUrl);
        }
        self.proxy = Some(Proxy::all(url).map_err(|_| BuildError::InvalidProxyUrl)?);
        Ok(self)
    }

    /// The transport. [`Roots::System`] reads files here.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if there are no certificate authorities to trust.
    pub fn build(self) -> Result<ReqwestTransport, BuildError> {
        let is_proxied = self.proxy.is_some();
        let mut client = client_builder(self.limits).tls_backend_preconfigured(client_config(&self.roots)?);
        if let Some(proxy) = self.proxy {
            client = client.proxy(proxy);
        }
        let client = client
            .build()
            .map_err(|error| BuildError::Reqwest(crate::error::describe(&error.without_url())))?;
        Ok(ReqwestTransport::from_client(client, self.limits, is_proxied))
    }
}

/// Everything is said, also what is reqwest's default today: another crate in the same program may switch on features
/// of reqwest (HTTP/2, decompression, system proxies, another resolver) that change what an untouched builder does.
fn client_builder(limits: Limits) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
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
        .timeout(limits.total)
        .pool_idle_timeout(limits.idle)
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
            "http://",
            "http://user:PLANTED@proxy/path",
            "http://user:PLANTED@proxy?x",
            "http://user:PLANTED@proxy:port",
        ] {
            let error = ReqwestTransportBuilder::default().proxy(bad).unwrap_err();
            assert_eq!(error, BuildError::InvalidProxyUrl, "{bad}");
            assert!(!format!("{error} {error:?}").contains("PLANTED"));
        }
        for good in ["http://proxy", "http://user:PLANTED@[::1]:3128/", "https://proxy:8443"] {
            let builder = ReqwestTransportBuilder::default().roots(Roots::Bundled).proxy(good).unwrap();
            assert!(!format!("{builder:?}").contains("PLANTED"));
            let transport = builder.build().unwrap();
            assert!(!format!("{transport:?}").contains("PLANTED"));
        }
    }

    #[test]
    fn no_roots_no_transport() {
        let error = ReqwestTransportBuilder::default().roots(Roots::Pem(Vec::new())).build().unwrap_err();
        assert_eq!(error, BuildError::Tls(TlsConfigError::EmptyPem));
    }
}
