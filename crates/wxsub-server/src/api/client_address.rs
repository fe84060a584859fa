//! The address of a client, also behind proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the connection; or, if that is a trusted proxy, the rightmost address in `X-Forwarded-For` that is none.
///
/// Each proxy appends the address that it sees, so a client can forge only what is left of that. `None` if a trusted proxy
/// sent something that is no address.
pub(crate) fn client_address(
    peer: IpAddr,
    trusted_proxies: &[Network],
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let is_trusted = |address| trusted_proxies.iter().any(|network| network.contains(address));
    let values = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let mut forwarded = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut address = peer.to_canonical();
    while is_trusted(address) {
        let Some(entry) = forwarded.next() else { break };
        address = parse(entry)?;
    }
    Some(address)
}

/// An address, with or without a port.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::tests::{read, with_app};

    #[test]
    fn rightmost_untrusted_address_counts() {
        let text = with_app("trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]");
        let trusted = read(&text).unwrap().0.trusted_proxies;
        for (peer, headers, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("::ffff:10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["198.51.100.7,203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2 ,10.0.0.3"], Some("203.0.113.9")),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9", "10.0.0.2"], Some("203.0.113.9")),
            ("2001:db8::1", &["[2001:db8::9]:443"], Some("2001:db8::9")),
            ("10.0.0.1", &["203.0.113.9:5000"], Some("203.0.113.9")),
            ("10.0.0.1", &["::ffff:203.0.113.9"], Some("203.0.113.9")),
            // All are proxies: the first one is the client.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &["203.0.113.9, unknown"], None),
            ("10.0.0.1", &["203.0.113.9,"], None),
            ("10.0.0.1", &["\u{e9}"], None),
        ] {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(client_address(peer.parse().unwrap(), &trusted, &map), expected, "{peer} {headers:?}");
        }
    }
}
