//! The clients of the server, their rights and networks, and how `[[clients]]` is read.

use std::net::IpAddr;
use std::sync::Arc;

use wxsub_proto::{AppId, ValidationError};

use super::document::TableReader;
use super::key::ApiKeyDigest;

/// A right of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    TokenRead,
    TokenReport,
    MessageSend,
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::TokenRead, Self::TokenReport, Self::MessageSend, Self::Admin];

    /// The name in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TokenRead => "token:read",
            Self::TokenReport => "token:report",
            Self::MessageSend => "message:send",
            Self::Admin => "admin",
        }
    }
}

/// One client of the configuration. Rights that are not listed are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiClient {
    pub(crate) name: String,
    pub(crate) key: ApiKeyDigest,
    pub(crate) apps: AppAccess,
    pub(crate) scopes: Vec<Scope>,
    /// Networks from which the key may be used. Empty means any.
    pub(crate) allowed_networks: Vec<Cidr>,
}

/// The apps that a key may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppAccess {
    /// All configured apps.
    All,
    /// These apps. They need not be configured.
    Only(Vec<AppId>),
}

impl ApiClient {
    pub(crate) fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn can_access(&self, app: &AppId) -> bool {
        match &self.apps {
            AppAccess::All => true,
            AppAccess::Only(apps) => apps.contains(app),
        }
    }

    /// Whether the key may be used from this address. An unknown address is allowed only if any address is.
    pub(crate) fn allows_address(&self, address: Option<IpAddr>) -> bool {
        let known = |address| self.allowed_networks.iter().any(|network| network.contains(address));
        self.allowed_networks.is_empty() || address.is_some_and(known)
    }
}

/// The client of this key. Compares all clients, so that the duration does not reveal which one matched.
pub(crate) fn find_by_key<'a>(
    clients: &'a [Arc<ApiClient>],
    key: &ApiKeyDigest,
) -> Option<&'a Arc<ApiClient>> {
    clients.iter().fold(None, |found, client| if client.key.ct_eq(key) { Some(client) } else { found })
}

/// Maximum length of a client's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Reads one `[[clients]]`.
pub(super) fn read(mut section: TableReader<'_>) -> Option<ApiClient> {
    for key in ["name", "key_sha256", "apps", "scopes"] {
        section.check_present(key);
    }
    let name = name(&mut section);
    let key = section.text("key_sha256").and_then(|text| {
        let digest = ApiKeyDigest::parse(&text);
        if digest.is_none() {
            section.problem(
                "key_sha256",
                "must be 64 lower-case hexadecimal digits, as `wxsub key new` prints them",
            );
        }
        digest
    });
    let apps = apps(&mut section);
    let scopes = section.list("scopes", |text| {
        let all = Scope::ALL.map(Scope::as_str).join(", ");
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("must be one of {all}"))
    });
    let has_allowed_networks = section.has("allowed_networks");
    let allowed_networks = section.list("allowed_networks", |text| {
        Cidr::parse(text).ok_or_else(|| "must be an address or a range like 10.0.0.0/8".to_owned())
    });
    if has_allowed_networks && allowed_networks.is_empty() {
        section.problem(
            "allowed_networks",
            "is empty; list the networks from which the key may be used, or remove it",
        );
    }
    section.finish();
    Some(ApiClient { name: name?, key: key?, apps, scopes, allowed_networks })
}

fn name(section: &mut TableReader<'_>) -> Option<String> {
    let name = section.text("name")?;
    let is_valid = is_client_name(&name);
    if !is_valid {
        section.problem("name", "must be 1 to 64 letters, digits, dots, hyphens or underscores");
    }
    is_valid.then_some(name)
}

/// Whether a client's name is valid: 1 to 64 letters, digits, dots, hyphens or underscores.
#[must_use]
pub fn is_client_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn apps(section: &mut TableReader<'_>) -> AppAccess {
    let mut all = false;
    let appids = section.list("apps", |text| match text {
        "*" => {
            all = true;
            Ok(None)
        }
        text => {
            text.parse::<AppId>().map(Some).map_err(|invalid: ValidationError| invalid.rule().to_string())
        }
    });
    let appids: Vec<_> = appids.into_iter().flatten().collect();
    match all {
        true if !appids.is_empty() => {
            section.problem("apps", "has \"*\" and AppIDs; keep one or the other");
            AppAccess::Only(appids)
        }
        true => AppAccess::All,
        false => AppAccess::Only(appids),
    }
}

/// All addresses that share the first `prefix` bits with `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: IpAddr,
    prefix: u32,
}

impl Cidr {
    /// Parses `address/bits`. Without bits, the range is this one address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let max_bits = bit_count(address);
        let prefix = match prefix {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= max_bits)?
            }
            Some(_) => return None,
            None => max_bits,
        };
        Some(Self { address, prefix })
    }

    /// Whether the range contains the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let ignored = bit_count(self.address) - self.prefix;
        let network = |address| to_bits(address).checked_shr(ignored).unwrap_or(0);
        bit_count(address) == bit_count(self.address) && network(address) == network(self.address)
    }
}

fn bit_count(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wxsub_api::ApiKey;

    fn client(letter: &str) -> ApiClient {
        ApiClient {
            name: letter.to_owned(),
            key: ApiKeyDigest::of(&ApiKey::new(letter.repeat(43)).unwrap()),
            apps: AppAccess::Only(vec!["wx1".parse().unwrap()]),
            scopes: vec![Scope::TokenRead],
            allowed_networks: Vec::new(),
        }
    }

    #[test]
    fn only_listed_scopes_and_apps_are_allowed() {
        let mut one = client("a");
        assert!(one.has_scope(Scope::TokenRead) && !one.has_scope(Scope::Admin));
        assert!(one.can_access(&"wx1".parse().unwrap()) && !one.can_access(&"wx2".parse().unwrap()));
        one.apps = AppAccess::All;
        assert!(one.can_access(&"wx2".parse().unwrap()));
    }

    #[test]
    fn key_is_allowed_only_from_its_networks() {
        let mut one = client("a");
        assert!(one.allows_address(None));
        one.allowed_networks = vec![Cidr::parse("10.0.0.0/8").unwrap()];
        let from = |text: &str| one.allows_address(Some(text.parse().unwrap()));
        assert!(from("10.1.2.3") && !from("11.1.2.3") && !one.allows_address(None));
    }

    #[test]
    fn client_is_found_by_its_key() {
        let clients = ["a", "b", "c"].map(|letter| Arc::new(client(letter)));
        for one in &clients {
            assert_eq!(find_by_key(&clients, &one.key), Some(one));
        }
        assert_eq!(find_by_key(&clients, &client("d").key), None);
    }

    #[test]
    fn range_contains_addresses_with_the_same_prefix() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let contains = Cidr::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, inside, "{address} in {network}");
        }
        for bad in [
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
            assert!(Cidr::parse(bad).is_none(), "{bad}");
        }
    }
}
