//! The clients of the server, and their rights.

use std::net::IpAddr;

use wxsub_proto::AppId;

use crate::cidr::Cidr;
use crate::key::ApiKeyDigest;

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
pub(crate) fn find_by_key<'a>(clients: &'a [ApiClient], key: &ApiKeyDigest) -> Option<&'a ApiClient> {
    clients.iter().fold(None, |found, client| if client.key.ct_eq(key) { Some(client) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wxsub_core::token::ApiKey;

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
        let clients = [client("a"), client("b"), client("c")];
        for one in &clients {
            assert_eq!(find_by_key(&clients, &one.key), Some(one));
        }
        assert_eq!(find_by_key(&clients, &client("d").key), None);
    }
}
