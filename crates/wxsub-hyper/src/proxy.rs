use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// The address and credentials of an HTTP proxy. Its scheme says whether the proxy speaks TLS.
#[derive(Debug)]
pub struct Proxy {
    /// The address, without user and password.
    pub(crate) uri: Uri,
    /// The value of the `proxy-authorization` header.
    pub(crate) credentials: Option<HeaderValue>,
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]`, or the same with `https://`. User and password may be percent-encoded.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let parsed: Uri = url.parse().ok()?;
        // The parser drops the fragment, so check the text for it.
        let has_only_authority = parsed.path() == "/" && parsed.query().is_none() && !url.contains('#');
        let scheme = parsed.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
        if !has_only_authority {
            return None;
        }
        let (login, authority) = match parsed.authority()?.as_str().rsplit_once('@') {
            Some((login, authority)) => (Some(login), authority),
            None => (None, parsed.authority()?.as_str()),
        };
        let authority: Authority = authority.parse().ok()?;
        let port = authority.as_str().strip_prefix(authority.host())?;
        if authority.host().is_empty() || !(port.is_empty() || authority.port().is_some()) {
            return None;
        }
        let credentials = match login {
            Some(login) => Some(basic_auth(login)?),
            None => None,
        };
        let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query("/");
        let uri = uri.build().ok()?;
        Some(Self { uri, credentials })
    }
}

fn basic_auth(login: &str) -> Option<HeaderValue> {
    let mut plain: Vec<u8> = percent_decode_str(login).collect();
    if !login.contains(':') {
        plain.push(b':');
    }
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_separates_and_decodes_credentials() {
        for (url, uri, login) in [
            ("http://proxy", "http://proxy/", None),
            ("http://[::1]:3128/", "http://[::1]:3128/", None),
            ("http://alice:s%20e:c@10.0.0.1:3128", "http://10.0.0.1:3128/", Some("alice:s e:c")),
            ("http://alice@proxy", "http://proxy/", Some("alice:")),
            ("http://alice:p%40ss@proxy", "http://proxy/", Some("alice:p@ss")),
            ("https://alice:b@proxy:8443", "https://proxy:8443/", Some("alice:b")),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.uri, uri);
            let login = login.map(|login| format!("Basic {}", STANDARD.encode(login)));
            assert_eq!(proxy.credentials.as_ref().map(|value| value.to_str().unwrap()), login.as_deref());
            assert!(proxy.credentials.is_none_or(|value| value.is_sensitive()));
        }
    }
}
