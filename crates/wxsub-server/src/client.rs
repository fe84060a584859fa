//! Who may ask for what.

use std::net::IpAddr;

use wxsub_proto::AppId;

use crate::key::KeyDigest;
use crate::network::Network;

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    TokenRead,
    TokenReport,
    MessageSend,
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::TokenRead, Self::TokenReport, Self::MessageSend, Self::Admin];

    /// As in configurations.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TokenRead => "token:read",
            Self::TokenReport => "token:report",
            Self::MessageSend => "message:send",
            Self::Admin => "admin",
        }
    }
}

/// One client of the configuration. Whatever is not listed is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) key: KeyDigest,
    pub(crate) apps: AppList,
    pub(crate) scopes: Vec<Scope>,
    /// Where its key may come from; anywhere, if nothing is listed.
    pub(crate) from: Vec<Network>,
}

/// Which apps a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppList {
    /// All there are.
    All,
    /// These, whether or not they exist.
    Only(Vec<AppId>),
}

impl Client {
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn has(&self, app: &AppId) -> bool {
        match &self.apps {
            AppList::All => true,
            AppList::Only(apps) => apps.contains(app),
        }
    }

    /// Whether its key may come from here; from an address that nobody knows only where any would do.
    pub(crate) fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        let known = |address| self.from.iter().any(|network| network.contains(address));
        self.from.is_empty() || address.is_some_and(known)
    }
}

/// The client of this key. Every one is looked at, so that the time it takes tells nothing.
pub(crate) fn find<'a>(clients: &'a [Client], key: &KeyDigest) -> Option<&'a Client> {
    clients.iter().fold(None, |found, client| if client.key.same_as(key) { Some(client) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wxsub_core::token::ClientKey;

    fn client(letter: &str) -> Client {
        Client {
            name: letter.to_owned(),
            key: KeyDigest::of(&ClientKey::new(letter.repeat(43)).unwrap()),
            apps: AppList::Only(vec!["wx1".parse().unwrap()]),
            scopes: vec![Scope::TokenRead],
            from: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let mut one = client("a");
        assert!(one.may(Scope::TokenRead) && !one.may(Scope::Admin));
        assert!(one.has(&"wx1".parse().unwrap()) && !one.has(&"wx2".parse().unwrap()));
        one.apps = AppList::All;
        assert!(one.has(&"wx2".parse().unwrap()));
    }

    #[test]
    fn a_key_comes_from_where_it_may() {
        let mut one = client("a");
        assert!(one.may_come_from(None));
        one.from = vec![Network::parse("10.0.0.0/8").unwrap()];
        let from = |text: &str| one.may_come_from(Some(text.parse().unwrap()));
        assert!(from("10.1.2.3") && !from("11.1.2.3") && !one.may_come_from(None));
    }

    #[test]
    fn each_key_is_found() {
        let clients = [client("a"), client("b"), client("c")];
        for one in &clients {
            assert_eq!(find(&clients, &one.key), Some(one));
        }
        assert_eq!(find(&clients, &client("d").key), None);
    }
}
