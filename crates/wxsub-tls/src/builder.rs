use rustls::ClientConfig;
use wxsub_core::proto::{Language, LocalizedText, ValidationErrors};
use wxsub_core::transport::TransportLimits;

use crate::{Roots, TlsConfigError, client_config};

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
    /// The proxy URL has another form than [`proxy`](TransportBuilder::proxy) accepts.
    #[error(
        "invalid proxy URL; use http://[user:password@]host[:port] or https://[user:password@]host[:port]"
    )]
    InvalidProxyUrl,
    /// The HTTP library rejected the settings. Holds its message.
    #[error("cannot build the HTTP client: {0}; check its limits and its proxy")]
    Library(String),
}

impl BuildError {
    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Invalid(errors) => errors.localized().in_language(Language::Chinese),
            Self::Tls(error) => return error.localized(),
            Self::InvalidProxyUrl => "代理地址无效；请写成 http://[user:password@]host[:port] 或 \
                                      https://[user:password@]host[:port]"
                .to_owned(),
            Self::Library(error) => format!("无法创建 HTTP 客户端：{error}；请检查限制和代理设置"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// A transport that a [`TransportBuilder`] builds.
pub trait FromSettings: Sized {
    /// A proxy, as the HTTP library takes it.
    type Proxy;

    /// Parses `http://[user:password@]host[:port]`, or the same with `https://`.
    fn parse_proxy(url: &str) -> Option<Self::Proxy>;

    /// Creates the transport.
    ///
    /// # Errors
    /// [`BuildError::Library`] if the HTTP library rejects the settings.
    fn from_settings(
        limits: TransportLimits,
        tls: ClientConfig,
        proxy: Option<Self::Proxy>,
    ) -> Result<Self, BuildError>;
}

/// Builds the transport `T`.
///
/// It reads no environment variables, except those that [`Roots::System`] names. It starts no task and no connection.
#[must_use = "a builder does nothing before `build`"]
#[derive(derive_more::Debug, derive_setters::Setters)]
#[debug("TransportBuilder({limits:?}, {roots:?}, proxy: {})", proxy.is_some())]
pub struct TransportBuilder<T: FromSettings> {
    /// Sets the time and size limits of one request.
    ///
    /// Keep [`connect`](TransportLimits::connect) shorter than
    /// [`request_timeout`](TransportLimits::request_timeout). When the total limit ends a connect, the transport cannot
    /// distinguish that from a request in progress. It then reports the request as maybe sent.
    limits: TransportLimits,
    /// Sets the trusted certificate authorities. Default: [`Roots::System`].
    roots: Roots,
    #[setters(skip)]
    proxy: Option<T::Proxy>,
}

impl<T: FromSettings> Default for TransportBuilder<T> {
    fn default() -> Self {
        Self { limits: TransportLimits::default(), roots: Roots::default(), proxy: None }
    }
}

impl<T: FromSettings> TransportBuilder<T> {
    /// Sends every request through this HTTP proxy: `http://[user:password@]host[:port]`.
    ///
    /// Use `https://` for a proxy that speaks TLS itself. Requests to `https://` use a `CONNECT` tunnel, so the proxy
    /// cannot read them. It can read requests to `http://`. Default: no proxy; environment variables are ignored.
    ///
    /// # Errors
    /// [`BuildError::InvalidProxyUrl`] if `url` has another form.
    pub fn proxy(mut self, url: &str) -> Result<Self, BuildError> {
        self.proxy = Some(T::parse_proxy(url).ok_or(BuildError::InvalidProxyUrl)?);
        Ok(self)
    }

    /// Builds the transport. [`Roots::System`] reads its files here.
    ///
    /// # Errors
    /// [`BuildError::Tls`] if the roots contain no usable certificate authority. [`BuildError::Library`] if the HTTP
    /// library rejects the settings.
    pub fn build(self) -> Result<T, BuildError> {
        T::from_settings(self.limits, client_config(&self.roots)?, self.proxy)
    }
}
