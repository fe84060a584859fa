use std::fmt;

use reqwest::{Proxy, Url, redirect, retry};
use wxsub_core::proto::ValidationErrors;
use wxsub_core::transport::TransportLimits;
use wxsub_tls::{Roots, TlsConfigError, client_config};

use crate::ReqwestTransport;

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
    /// The proxy URL has another form than [`proxy`](ReqwestTransportBuilder::proxy) accepts.
    #[error(
        "invalid proxy URL; use http://[user:password@]host[:port] or https://[user:password@]host[:port]"
    )]
    InvalidProxyUrl,
    /// reqwest rejected the settings. Holds the message of reqwest.
    #[error("cannot build the reqwest client: {0}")]
    Reqwest(String),
}

/// Builds a [`ReqwestTransport`].
///
/// It reads no environment variables, except those that [`Roots::System`] names. It starts no task and no connection.
#[derive(Default)]
pub struct ReqwestTransportBuilder {
    limits: TransportLimits,
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
        let url = Url::parse(url).map_err(|_| BuildError::InvalidProxyUrl)?;
        let has_only_authority =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !has_only_authority {
            return Err(BuildError::InvalidProxyUrl);
        }
        self.proxy = Some(Proxy::all(url).map_err(|_| BuildError::InvalidProxyUrl)?);
        Ok(self)
    }

    /// Builds the transport. [`Roots::System`] reads its files here.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if the roots contain no usable certificate authority.
    /// [`BuildError::Reqwest`] if reqwest rejects the settings.
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

/// A reqwest builder with every relevant setting, including those that equal the default.
///
/// Another crate in the same program can enable features of reqwest: HTTP/2, decompression, system proxies, another
/// resolver. Such a feature changes the defaults of reqwest, but not the settings here.
fn client_builder(limits: TransportLimits) -> reqwest::ClientBuilder {
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
        .timeout(limits.request_timeout)
        .pool_idle_timeout(limits.pool_idle_timeout)
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
    fn build_fails_without_roots() {
        let error = ReqwestTransportBuilder::default().roots(Roots::Pem(Vec::new())).build().unwrap_err();
        assert_eq!(error, BuildError::Tls(TlsConfigError::EmptyPem));
    }
}
