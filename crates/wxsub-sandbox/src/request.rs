//! One request, as it reached the sandbox.

use std::net::IpAddr;
use std::time::Duration;

/// The longest body that is read, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// One request, and when and from where it came.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) now: Duration,
    pub(crate) client_ip: IpAddr,
    /// The base URL under which the sandbox was reached.
    pub(crate) base_url: &'a str,
    /// Whether it comes from a page of another site.
    pub(crate) is_cross_site: bool,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// None if it is longer than [`MAX_BODY_BYTES`].
    pub(crate) body: Option<&'a [u8]>,
}

/// Path and query of a request target; a fragment is no part of it.
pub(crate) fn split_target(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').unwrap_or((target, ""))
}
