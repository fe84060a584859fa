//! URLs that users tap or are redirected to.

use crate::validate::validated_string;
use crate::{ValidationError, ValidationErrorKind};

validated_string!(
    /// A URL for a tap or a redirect: `http://` or `https://`, a host, no white space or control character, at most 8192
    /// characters (our limit). It is kept byte for byte. A fragment and non-ASCII characters are allowed.
    ///
    /// Weixin has further rules (an ICP licence, a registered domain), which are not checked here.
    HttpUrl,
    |text| check("url", text)
);

fn check(field: &'static str, text: &str) -> Result<(), ValidationError> {
    crate::validate::check_length(field, text, 8192)?;
    crate::validate::check_no_control_chars(field, text, |_| false)?;
    let form = |expected| ValidationError::new(field, ValidationErrorKind::InvalidFormat { expected });
    if text.contains(char::is_whitespace) {
        return Err(form("a URL without white space; percent-encode it"));
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| form("a URL that starts with http:// or https://"))?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    match host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host) {
        "" => Err(form("a URL with a host")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
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
}
