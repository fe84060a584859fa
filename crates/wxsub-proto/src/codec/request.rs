use std::borrow::Cow;
use std::fmt;

use super::percent_encode_into;
use crate::BaseUrl;

/// The two verbs Weixin's API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every match on it should be complete")]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

impl Method {
    /// In upper case, as on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
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
    #[must_use]
    pub fn public(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: value.into(), secret: false }
    }

    /// A value that never reaches a log or an error.
    #[must_use]
    pub fn secret(name: &'static str, value: &'a str) -> Self {
        Self { name, value: value.into(), secret: true }
    }
}

/// A request: method, path, query pairs marked public or secret, and a JSON body. `Debug` shows neither secrets nor
/// the body.
#[derive(Clone)]
pub struct Request<'a> {
    method: Method,
    path: &'static str,
    query: Vec<QueryPair<'a>>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// `GET path?query`.
    #[must_use]
    pub fn get(path: &'static str, query: Vec<QueryPair<'a>>) -> Self {
        Self { method: Method::Get, path, query, body: Vec::new() }
    }

    /// `POST path?query` with a JSON body.
    #[must_use]
    pub fn post(path: &'static str, query: Vec<QueryPair<'a>>, body: Vec<u8>) -> Self {
        Self { method: Method::Post, path, query, body }
    }

    /// The verb.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, from the root of the API.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The body: JSON on `POST`, empty on `GET`.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Consumes the request and returns its body.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The whole URL **with its secrets**. Write it to the connection and nowhere else.
    #[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_parts_are_what_they_were() {
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
}
