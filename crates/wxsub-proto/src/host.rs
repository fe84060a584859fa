//! Where Weixin's servers are.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{HttpUrl, Invalid, Rule};

/// Where API calls go: scheme, host and an optional path prefix. `http://` is accepted only for loopback addresses,
/// because secrets travel in the query.
///
/// <https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html> lists the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The nearest entry point of Weixin's API.
    pub const API: &str = "https://api.weixin.qq.com";
    /// The remote entry point, for when the nearest cannot be reached.
    pub const API_DISASTER_RECOVERY: &str = "https://api2.weixin.qq.com";
    /// Shanghai.
    pub const API_SHANGHAI: &str = "https://sh.api.weixin.qq.com";
    /// Shenzhen.
    pub const API_SHENZHEN: &str = "https://sz.api.weixin.qq.com";
    /// Hong Kong.
    pub const API_HONG_KONG: &str = "https://hk.api.weixin.qq.com";
    /// Where the consent page of Official Accounts lives.
    pub const MP: &str = "https://mp.weixin.qq.com";

    /// Takes `https://host[:port][/prefix]`, or `http://` for a loopback address.
    ///
    /// # Errors
    /// [`Rule::Plaintext`] for `http://` elsewhere; [`Rule::Form`] for user info, a query, a fragment or non-ASCII.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let base = Self::allowing_http(text)?;
        match base.0.starts_with("http://") && !is_loopback(base.host()) {
            true => Err(Invalid::new("base_url", Rule::Plaintext)),
            false => Ok(base),
        }
    }

    /// Like [`new`](Self::new), but takes `http://` to any host. Secrets then travel in the open: for test networks only.
    ///
    /// # Errors
    /// As [`new`](Self::new), without [`Rule::Plaintext`].
    pub fn allowing_http(text: &str) -> Result<Self, Invalid> {
        HttpUrl::new(text).map_err(|invalid| invalid.in_field("base_url"))?;
        if text.contains(['?', '#', '@', '\\', '%']) || !text.is_ascii() {
            let expected = "https://host[:port][/prefix], in ASCII, without user info, query or fragment";
            return Err(Invalid::new("base_url", Rule::Form { expected }));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The port, written or not. `None` if what is written is none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let after_host = self.authority().rsplit(']').next().unwrap_or_default();
        match (after_host.split_once(':'), self.0.starts_with("https:")) {
            (Some((_, port)), _) => port.parse().ok(),
            (None, true) => Some(443),
            (None, false) => Some(80),
        }
    }

    fn authority(&self) -> &str {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }

    /// The URL, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Weixin's nearest entry point.
impl Default for BaseUrl {
    fn default() -> Self {
        Self(Self::API.to_owned())
    }
}

/// Whether this host is this very machine.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for BaseUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_only_to_loopback() {
        for good in [
            BaseUrl::API,
            BaseUrl::MP,
            "http://127.0.0.1:8460",
            "http://localhost/prefix",
            "http://[::1]:1",
            "http://127.9.9.9",
        ] {
            assert_eq!(BaseUrl::new(good).unwrap().as_str(), good);
        }
        for bad in ["http://example.com", "http://10.0.0.1", "http://localhost.evil.com", "http://0.0.0.0"] {
            assert_eq!(BaseUrl::new(bad).unwrap_err().rule(), &Rule::Plaintext, "{bad}");
            assert!(BaseUrl::allowing_http(bad).is_ok());
        }
        for bad in [
            "",
            "api.weixin.qq.com",
            "https://",
            "https://a?b",
            "https://a#b",
            "https://u:p@a",
            "https://例.jp",
        ] {
            assert!(BaseUrl::new(bad).is_err() && BaseUrl::allowing_http(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_and_port() {
        for (url, host, port) in [
            (BaseUrl::API, "api.weixin.qq.com", Some(443)),
            ("http://localhost/prefix:7", "localhost", Some(80)),
            ("http://127.0.0.1:8460/p", "127.0.0.1", Some(8460)),
            ("https://[::1]", "::1", Some(443)),
            ("http://[::1]:1", "::1", Some(1)),
            ("https://a:port", "a", None),
            ("https://a:", "a", None),
        ] {
            let base = BaseUrl::new(url).unwrap();
            assert_eq!((base.host(), base.port()), (host, port), "{url}");
        }
    }

    #[test]
    fn a_trailing_slash_is_no_part_of_it() {
        assert_eq!(BaseUrl::new("https://a/p/").unwrap().as_str(), "https://a/p");
    }
}
