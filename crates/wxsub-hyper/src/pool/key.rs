use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// Identifies a pooled connection: host, port and whether it uses TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolKey {
    is_tls: bool,
    /// `None` if the URL had no host.
    authority: Option<Authority>,
}

impl PoolKey {
    /// Splits a URI into its key and its path with query.
    pub(crate) fn split_uri(uri: Uri) -> (Self, PathAndQuery) {
        let parts = uri.into_parts();
        let key = Self { is_tls: parts.scheme == Some(Scheme::HTTPS), authority: parts.authority };
        (key, parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Copies the key into memory of its own, so that it can be stored.
    ///
    /// The key shares the buffer of the URI, which contains an access token.
    pub(super) fn to_detached(&self) -> Option<Self> {
        let authority = self.authority.as_ref()?.as_str().parse().ok()?;
        Some(Self { is_tls: self.is_tls, authority: Some(authority) })
    }

    /// The value of the `host` header. The default port is omitted.
    pub(super) fn host_header(&self) -> Option<HeaderValue> {
        let authority = self.authority.as_ref()?;
        let default_port = if self.is_tls { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        HeaderValue::try_from(host).ok()
    }

    /// The URI of the host, with the path `/`.
    pub(super) fn root_uri(&self) -> Uri {
        self.uri_for(PathAndQuery::from_static("/"))
    }

    /// The absolute URI of `path` on this host.
    pub(crate) fn uri_for(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = self.authority.clone();
        parts.path_and_query = Some(path);
        // This fails only without a host. Such a request is never sent.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_header_omits_default_port() {
        for (uri, expected) in [
            ("https://api.weixin.qq.com/x?access_token=T", "api.weixin.qq.com"),
            ("https://api.weixin.qq.com:443/", "api.weixin.qq.com"),
            ("https://api.weixin.qq.com:80/", "api.weixin.qq.com:80"),
            ("http://localhost:80/", "localhost"),
            ("http://[::1]:8460/", "[::1]:8460"),
        ] {
            let (key, _) = PoolKey::split_uri(uri.parse().unwrap());
            assert_eq!(key.host_header().unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn split_uri_and_uri_for_are_inverse() {
        for uri in ["https://api.weixin.qq.com/x?access_token=T", "http://127.0.0.1:1/p/q", "http://h/"] {
            let (key, path) = PoolKey::split_uri(uri.parse().unwrap());
            assert_eq!(key.to_detached().unwrap(), key);
            assert_eq!(key.uri_for(path), uri);
        }
        assert!(PoolKey::split_uri("/path".parse().unwrap()).0.to_detached().is_none());
    }
}
