//! Requests and query strings.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

use crate::{BaseUrl, LocalizedText, ValidationError};

crate::named_enum! {
    /// The two verbs Weixin's API uses, in upper case as on the wire.
    pub enum Method {
        /// `GET`
        Get = "GET",
        /// `POST`
        Post = "POST",
    }
}

/// One name and value of a query string, public or secret.
#[derive(Clone)]
pub struct QueryPair<'a> {
    name: &'static str,
    value: Cow<'a, str>,
    secret: bool,
}

impl fmt::Debug for QueryPair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, if self.secret { "***" } else { &self.value })
    }
}

impl<'a> QueryPair<'a> {
    /// A public value.
    pub fn public(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: value.into(), secret: false }
    }

    /// A value that never reaches a log or an error.
    pub fn secret(name: &'static str, value: &'a str) -> Self {
        Self { name, value: value.into(), secret: true }
    }
}

/// A request: method, path, query pairs marked public or secret, and a JSON body. `Debug` shows neither secrets nor
/// the body.
#[derive(Clone, getset::CopyGetters)]
pub struct Request<'a> {
    /// The verb.
    #[getset(get_copy = "pub")]
    method: Method,
    /// The path, from the root of the API.
    #[getset(get_copy = "pub")]
    path: &'static str,
    query: Vec<QueryPair<'a>>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// `GET path?query`.
    pub fn get(path: &'static str, query: Vec<QueryPair<'a>>) -> Self {
        Self { method: Method::Get, path, query, body: Vec::new() }
    }

    /// `POST path?query` with a JSON body.
    pub fn post(path: &'static str, query: Vec<QueryPair<'a>>, body: Vec<u8>) -> Self {
        Self { method: Method::Post, path, query, body }
    }

    /// The body: JSON on `POST`, empty on `GET`.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Consumes the request and returns its body.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The whole URL **with its secrets**. Write it to the connection and nowhere else.
    pub fn url(&self, base: &BaseUrl) -> String {
        let room: usize = self.query.iter().map(|pair| pair.name.len() + pair.value.len() + 2).sum();
        let mut url = String::with_capacity(base.as_str().len() + self.path.len() + room);
        url.push_str(base.as_str());
        url.push_str(self.path);
        for (index, pair) in self.query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(pair.name);
            url.push('=');
            percent_encode_into(&mut url, &pair.value);
        }
        url
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)?;
        for (index, pair) in self.query.iter().enumerate() {
            write!(f, "{}{pair:?}", if index == 0 { '?' } else { '&' })?;
        }
        match self.body.len() {
            0 => Ok(()),
            length => write!(f, " ({length} bytes)"),
        }
    }
}

/// All but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes one value of a query string, exactly once.
pub fn percent_encode(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, COMPONENT)
}

/// Appends one value of a query string, encoded. Most values are tokens and ids, which need no encoding.
pub(crate) fn percent_encode_into(url: &mut String, value: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~');
    // Without an early exit the compiler checks 16 bytes at a time.
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        url.push_str(value);
    } else {
        url.extend(percent_encode(value));
    }
}

/// Decodes a query string into names and values, in order. `+` is a space, as in forms.
///
/// # Errors
/// [`ValidationError`] of `query` if a name or value does not decode to UTF-8.
pub fn decode_query(query: &str) -> Result<Vec<(String, String)>, ValidationError> {
    decode_pairs(query).map(|(_, pair)| pair).collect()
}

/// Each name of a query string as it is encoded, with the decoded name and value.
pub(crate) fn decode_pairs(
    query: &str,
) -> impl Iterator<Item = (&str, Result<(String, String), ValidationError>)> {
    let decode = |part: &str| match percent_decode_str(&part.replace('+', " ")).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ValidationError::invalid_format(
            "query",
            LocalizedText::new("percent-encoded UTF-8", "是百分号编码的 UTF-8"),
        )),
    };
    query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, decode(name).and_then(|decoded| Ok((decoded, decode(value)?))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_keeps_its_parts() {
        let query =
            || vec![QueryPair::public("a", "ä b"), QueryPair::secret("s", "&"), QueryPair::public("e", "")];
        let request = Request::post("/p", query(), b"{}".to_vec());
        assert_eq!(
            (request.method(), request.path(), request.body()),
            (Method::Post, "/p", b"{}".as_slice())
        );
        assert_eq!(request.url(&BaseUrl::new("https://h/x").unwrap()), "https://h/x/p?a=%C3%A4%20b&s=%26&e=");
        assert_eq!(request.into_body(), b"{}");
        assert_eq!(Request::get("/p", vec![]).url(&BaseUrl::default()), "https://api.weixin.qq.com/p");
    }

    proptest::proptest! {
        #[test]
        fn encoded_value_decodes_to_itself(value in ".*") {
            let mut appended = String::new();
            percent_encode_into(&mut appended, &value);
            assert_eq!(appended, percent_encode(&value).to_string());
            let pairs = decode_query(&format!("v={appended}")).unwrap();
            assert_eq!(pairs, [("v".to_owned(), value)]);
        }

        #[test]
        fn any_text_is_decoded_without_panic(text in ".*") {
            let _pairs = decode_query(&text);
        }
    }
}
