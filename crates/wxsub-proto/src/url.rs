//! URLs: those that users open, and the base URLs of Weixin's servers.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::validation::{check_length, check_no_control_chars, validated_string};
use crate::{LocalizedText, ValidationError, ValidationErrorKind};

validated_string!(
    /// A URL for a tap or a redirect: `http://` or `https://`, a host, no white space or control character, at most 8192
    /// characters (our limit). It is kept byte for byte. A fragment and non-ASCII characters are allowed.
    ///
    /// Weixin has further rules (an ICP licence, a registered domain), which are not checked here.
    HttpUrl,
    |text| check_http_url(text)
);

fn check_http_url(text: &str) -> Result<(), ValidationError> {
    check_length("url", text, 8192)?;
    check_no_control_chars("url", text, |_| false)?;
    let form = |expected| ValidationError::invalid_format("url", expected);
    if text.contains(char::is_whitespace) {
        return Err(form(LocalizedText::new(
            "a URL without white space; percent-encode it",
            "是不含空白字符的 URL；请做百分号编码",
        )));
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(|| {
        form(LocalizedText::new(
            "a URL that starts with http:// or https://",
            "是以 http:// 或 https:// 开头的 URL",
        ))
    })?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    match host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host) {
        "" => Err(form(LocalizedText::new("a URL with a host", "是带主机名的 URL"))),
        _ => Ok(()),
    }
}

/// The base URL of API calls: scheme, host and an optional path prefix. `http://` is accepted only for loopback
/// addresses, because secrets travel in the query.
///
/// <https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html> lists the hosts.
#[derive(Debug, derive_more::Display, Clone, PartialEq, Eq, Hash, getset::CopyGetters)]
#[display("{text}")]
pub struct BaseUrl {
    text: Arc<str>,
    /// The port, explicit or the scheme's default.
    #[getset(get_copy = "pub")]
    port: u16,
}

/// Whether a host, with or without the brackets of an IPv6 address, is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

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
    /// The base URL of the consent page of Official Accounts.
    pub const MP: &str = "https://mp.weixin.qq.com";

    /// Takes `https://host[:port][/prefix]`, or `http://` for a loopback address.
    ///
    /// # Errors
    /// [`ValidationErrorKind::InsecureScheme`] for `http://` elsewhere; [`ValidationErrorKind::InvalidFormat`] for user
    /// info, a query, a fragment, non-ASCII, an invalid port, or a path with `/cgi-bin`, which each call adds itself.
    pub fn new(text: &str) -> Result<Self, ValidationError> {
        let base = Self::insecure(text)?;
        match base.text.starts_with("http://") && !base.is_loopback() {
            true => Err(ValidationError::new("base_url", ValidationErrorKind::InsecureScheme)),
            false => Ok(base),
        }
    }

    /// Like [`new`](Self::new), but accepts `http://` for any host. Secrets then travel unencrypted: for test networks
    /// only.
    ///
    /// # Errors
    /// As [`new`](Self::new), without [`ValidationErrorKind::InsecureScheme`].
    pub fn insecure(text: &str) -> Result<Self, ValidationError> {
        HttpUrl::new(text).map_err(|invalid| invalid.with_field("base_url"))?;
        let form = |expected| ValidationError::invalid_format("base_url", expected);
        let (_, rest) = text.split_once("://").unwrap_or_default();
        if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:/[]".contains(&byte)) {
            return Err(form(LocalizedText::new(
                "https://host[:port][/prefix], in ASCII, without user info, query or fragment",
                "形如 https://host[:port][/prefix]，只含 ASCII 字符，不带用户信息、查询参数和片段",
            )));
        }
        if text.split('/').any(|segment| segment == "cgi-bin") {
            return Err(form(LocalizedText::new(
                "the part before /cgi-bin, which wxsub adds itself; remove the rest",
                "是 /cgi-bin 之前的部分（/cgi-bin 由 wxsub 自己加上）；请删除其余部分",
            )));
        }
        let port = port(text).ok_or_else(|| {
            form(LocalizedText::new(
                "a port from 1 to 65535 behind the host's colon, or none",
                "在主机名的冒号后是 1 到 65535 的端口，或没有冒号和端口",
            ))
        })?;
        Ok(Self { text: text.trim_end_matches('/').into(), port })
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(self.host())
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let authority = authority(&self.text);
        match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Base URLs of API calls in order of preference: 1 to [`MAX`](Self::MAX), without duplicates.
#[derive(Debug, derive_more::Display, Clone, PartialEq, Eq, Hash, Default, getset::Getters)]
#[display("{}", self.iter().map(BaseUrl::as_str).collect::<Vec<_>>().join(", "))]
pub struct BaseUrls {
    /// The preferred base URL.
    #[getset(get = "pub")]
    first: BaseUrl,
    others: Vec<BaseUrl>,
}

impl BaseUrls {
    /// The largest number of base URLs.
    pub const MAX: usize = 8;

    /// Makes the list. The preferred base URL comes first.
    ///
    /// # Errors
    /// [`ValidationErrorKind::Empty`] for none, [`ValidationErrorKind::Duplicate`] for a repeated one,
    /// [`ValidationErrorKind::InvalidFormat`] for more than [`MAX`](Self::MAX).
    pub fn new(bases: impl IntoIterator<Item = BaseUrl>) -> Result<Self, ValidationError> {
        let wrong = |rule| ValidationError::new("base_url", rule);
        let mut bases = bases.into_iter();
        let mut all = Self::from(bases.next().ok_or_else(|| wrong(ValidationErrorKind::Empty))?);
        for base in bases {
            if all.iter().any(|known| *known == base) {
                return Err(wrong(ValidationErrorKind::Duplicate));
            }
            all.others.push(base);
            if all.count() > Self::MAX {
                return Err(ValidationError::invalid_format(
                    "base_url",
                    LocalizedText::new("at most 8 base URLs", "最多有 8 个地址"),
                ));
            }
        }
        Ok(all)
    }

    /// All base URLs in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &BaseUrl> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The number of base URLs.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }
}

impl From<BaseUrl> for BaseUrls {
    fn from(base: BaseUrl) -> Self {
        Self { first: base, others: Vec::new() }
    }
}

/// Weixin's nearest entry point.
impl Default for BaseUrl {
    fn default() -> Self {
        Self { text: Self::API.into(), port: 443 }
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

/// The port of a URL, explicit or the scheme's default; `None` if it is invalid.
fn port(url: &str) -> Option<u16> {
    let authority = authority(url);
    let after_host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.1,
        None => authority.find(':').map_or("", |at| authority.split_at(at).1),
    };
    match after_host.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0 && after_host.bytes().skip(1).all(|b| b.is_ascii_digit())),
        None if !after_host.is_empty() => None,
        None if url.starts_with("https:") => Some(443),
        None => Some(80),
    }
}

impl FromStr for BaseUrl {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_url_has_scheme_host_and_no_white_space() {
        for good in [
            "http://a",
            "https://example.com/path?x=1#part",
            "https://例え.jp/路",
            "https://a:8080",
            "https://[::1]:80/",
            "https://a?b",
            "https://u@h/",
        ] {
            assert_eq!(HttpUrl::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "ftp://a",
            "example.com",
            "//a",
            "https://",
            "https:///p",
            "https://?q",
            "https://:80",
            "https://a b",
            "https://a\n",
            "https://a/\u{3000}",
            "https://user@/",
            "HTTPS",
            "javascript:alert(1)",
            "https://#",
        ] {
            assert!(HttpUrl::new(bad).is_err(), "{bad:?}");
        }
        assert!(HttpUrl::new(format!("https://a/{}", "x".repeat(8192))).is_err());
    }

    #[test]
    fn http_is_allowed_only_for_loopback() {
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
            assert_eq!(BaseUrl::new(bad).unwrap_err().rule(), &ValidationErrorKind::InsecureScheme, "{bad}");
            assert!(BaseUrl::insecure(bad).is_ok());
        }
        for bad in [
            "",
            "api.weixin.qq.com",
            "https://",
            "https://a?b",
            "https://a#b",
            "https://u:p@a",
            "https://例.jp",
            "https://a:port",
            "https://a:",
            "https://a:0",
            "https://a:+1",
            "https://a:65536",
            "https://a:1:2",
            "https://[::1",
            "https://[::1]x:80",
            "https://<host>",
            "https://${HOST}",
            "https://a/<prefix>",
            "https://a/{prefix}",
            "https://a\"b",
            "https://a|b",
            "https://a^b",
            "https://a/`b`",
        ] {
            assert!(BaseUrl::new(bad).is_err() && BaseUrl::insecure(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn path_of_a_call_is_rejected() {
        for bad in [
            "https://api.weixin.qq.com/cgi-bin",
            "https://api.weixin.qq.com/cgi-bin/",
            "https://api.weixin.qq.com/cgi-bin/token",
            "http://127.0.0.1:8460/prefix/cgi-bin",
        ] {
            let error = BaseUrl::new(bad).unwrap_err().to_string();
            assert_eq!(
                error,
                "base_url: must be the part before /cgi-bin, which wxsub adds itself; remove the rest"
            );
        }
        assert!(BaseUrl::new("https://cgi-bin.example/my-cgi-bin").is_ok());
    }

    #[test]
    fn host_and_port() {
        for (url, host, port) in [
            (BaseUrl::API, "api.weixin.qq.com", 443),
            ("http://localhost/prefix:7", "localhost", 80),
            ("http://127.0.0.1:8460/p", "127.0.0.1", 8460),
            ("https://[::1]", "::1", 443),
            ("http://[::1]:1", "::1", 1),
            ("https://a:65535", "a", 65535),
        ] {
            let base: BaseUrl = url.parse().unwrap();
            assert_eq!((base.host(), base.port(), base.to_string().as_str()), (host, port, url));
        }
        assert_eq!(BaseUrl::default(), BaseUrl::new(BaseUrl::API).unwrap());
    }

    #[test]
    fn base_urls_are_one_to_eight_and_different() {
        let read = |texts: &[&str]| BaseUrls::new(texts.iter().map(|text| BaseUrl::new(text).unwrap()));
        let rule = |texts: &[&str]| read(texts).unwrap_err().rule().clone();
        let two = read(&[BaseUrl::API, BaseUrl::API_DISASTER_RECOVERY]).unwrap();
        assert_eq!((two.count(), two.first().as_str()), (2, BaseUrl::API));
        assert_eq!(two.to_string(), "https://api.weixin.qq.com, https://api2.weixin.qq.com");
        assert_eq!(rule(&[]), ValidationErrorKind::Empty);
        assert_eq!(rule(&["https://a", "https://b", "https://a/"]), ValidationErrorKind::Duplicate);
        let nine: Vec<_> = (1..=9).map(|port| format!("https://a:{port}")).collect();
        let nine: Vec<_> = nine.iter().map(String::as_str).collect();
        assert!(read(nine.get(..8).unwrap()).is_ok());
        assert!(matches!(rule(&nine), ValidationErrorKind::InvalidFormat { .. }));
    }

    #[test]
    fn trailing_slash_is_removed() {
        assert_eq!(BaseUrl::new("https://a/p/").unwrap().as_str(), "https://a/p");
    }
}
