//! Networks: ranges of addresses, as the configuration lists them.

use std::net::IpAddr;

use ipnet::IpNet;
use wxsub_proto::{LocalizedText, localized_text};

/// A range of addresses. Never an IPv4-mapped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(IpNet);

impl Network {
    /// Parses `address/bits`. Without bits, the network is this one address. An IPv4-mapped network counts as IPv4.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, LocalizedText<String>> {
        let network = parse(text).ok_or_else(|| {
            LocalizedText::new(
                "must be an address or a network like 10.0.0.0/8",
                "必须是 IP 地址，或网段（例如 10.0.0.0/8）",
            )
        })?;
        let first = network.trunc();
        if first == network {
            return Ok(Self(network));
        }
        let bits = network.prefix_len();
        Err(localized_text!(
            "has bits set after the first {bits}; write {first}",
            "前 {bits} 位之后还有非零的位；请写成 {first}"
        ))
    }

    /// Whether every address of one IP version is in the network.
    pub(super) fn is_everything(self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether the network contains the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The addresses are parsed by the standard library: `ipnet` takes octets with leading zeros.
fn parse(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else {
        return Some(text.parse::<IpAddr>().ok()?.to_canonical().into());
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = bits.parse().ok().filter(|_| !bits.starts_with('+'))?;
    match (address.to_canonical(), address, bits) {
        (v4 @ IpAddr::V4(_), IpAddr::V6(_), 96..) => IpNet::new(v4, bits - 96).ok(),
        _ => IpNet::new(address, bits).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_contains_addresses_with_the_same_prefix() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:0:0/96", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let contains = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, inside, "{address} in {network}");
        }
    }

    #[test]
    fn invalid_network_is_refused_with_what_to_write() {
        for text in [
            "",
            "10.0.0.0/33",
            "010.0.0.0/8",
            "::/129",
            "10.0.0/8",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
        ] {
            assert!(
                Network::parse(text).unwrap_err().to_string().starts_with("must be an address or a network"),
                "{text}"
            );
        }
        for (text, meant) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("10.0.0.1/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/90", "::ffc0:0:0/90"),
        ] {
            assert!(
                Network::parse(text).unwrap_err().to_string().ends_with(&format!("; write {meant}")),
                "{text}"
            );
        }
    }
}
