//! A request to the sandbox: its caller, its parts and its query.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use wxsub_proto::BaseUrl;

/// The maximum size of a request body in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// The sender of a request. An IP address converts into it.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
///
/// use wxsub_sandbox::{Caller, Sandbox};
///
/// // A page of another site submits a form.
/// let caller = Caller::from(IpAddr::from(Ipv4Addr::LOCALHOST)).cross_site();
/// let rejected = Sandbox::new().handle_from(caller, "POST", "/_sandbox/clock/advance", b"").outcome?;
/// assert_eq!(rejected.status, 403);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) base_url: Option<BaseUrl>,
    pub(crate) is_cross_site: bool,
}

impl Caller {
    /// Sets the base URL at which the caller reached the sandbox. Links to the sandbox use it. Default: `http://localhost`.
    #[must_use]
    pub fn with_base_url(self, base_url: BaseUrl) -> Self {
        Self { base_url: Some(base_url), ..self }
    }

    /// Marks the request as sent by a page of another site. The sandbox then rejects consent decisions and all controls.
    #[must_use]
    pub fn cross_site(self) -> Self {
        Self { is_cross_site: true, ..self }
    }
}

/// A caller at 127.0.0.1.
impl Default for Caller {
    fn default() -> Self {
        IpAddr::from(Ipv4Addr::LOCALHOST).into()
    }
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self { address, base_url: None, is_cross_site: false }
    }
}

/// A request with its time and its sender.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) now: Duration,
    pub(crate) client_ip: IpAddr,
    /// The base URL at which the caller reached the sandbox.
    pub(crate) base_url: &'a str,
    /// Whether a page of another site sent the request.
    pub(crate) is_cross_site: bool,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// `None` if the body is larger than [`MAX_BODY_BYTES`].
    pub(crate) body: Option<&'a [u8]>,
}

/// Splits a request target into path and query. A fragment is dropped.
pub(crate) fn split_target(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').unwrap_or((target, ""))
}

/// A query string or a form, parsed as leniently as Weixin parses it: decoded names and values.
///
/// Invalid UTF-8 is replaced and never an error.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value with this name. `None` if that value is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(other, _)| other == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn decode(part: &str) -> String {
    percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn get_returns_first_value_unless_empty() {
        let query = Query::parse("a=1&b=%E6%B1%89+%2B&a=2&c=&d&%ff=x");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("汉 +"));
        assert_eq!((query.get("c"), query.get("d"), query.get("e")), (None, None, None));
        assert_eq!(query.get("\u{fffd}"), Some("x"));
    }
}
