//! Networks: ranges of addresses, as the configuration lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wxsub_proto::{LocalizedText, localized_text};

/// All addresses that share the first `prefix` bits with `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// The first address of the network. Never an IPv4-mapped one.
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Parses `address/bits`. Without bits, the network is this one address. An IPv4-mapped network counts as IPv4.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, LocalizedText<String>> {
        let invalid = || {
            LocalizedText::new(
                "must be an address or a network like 10.0.0.0/8",
                "必须是 IP 地址，或网段（例如 10.0.0.0/8）",
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix = match bits {
            None => bit_count(address),
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= bit_count(address)).ok_or_else(invalid)?
            }
            Some(_) => return Err(invalid().into()),
        };
        let network = match (address.to_canonical(), prefix) {
            (IpAddr::V4(v4), 96..) if address.is_ipv6() => Self { address: v4.into(), prefix: prefix - 96 },
            _ => Self { address, prefix },
        };
        let first = network.first_address();
        if first == network.address {
            return Ok(network);
        }
        let bits = network.prefix;
        Err(localized_text!(
            "has bits set after the first {bits}; write {first}/{bits}",
            "前 {bits} 位之后还有非零的位；请写成 {first}/{bits}"
        ))
    }

    /// Whether every address of one IP version is in the network.
    pub(super) fn is_everything(self) -> bool {
        self.prefix == 0
    }

    /// Whether the network contains the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bit_count(address) == bit_count(self.address)
            && Self { address, ..self }.first_address() == self.address
    }

    fn first_address(self) -> IpAddr {
        let ignored = bit_count(self.address) - self.prefix;
        match self.address {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(ignored).unwrap_or(0)).into()
            }
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(ignored).unwrap_or(0)).into()
            }
        }
    }
}

fn bit_count(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
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
