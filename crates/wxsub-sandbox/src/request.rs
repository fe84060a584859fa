//! A request to the sandbox.

use std::net::IpAddr;
use std::time::Duration;

/// The maximum size of a request body in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

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
