//! The clients of the server, their rights and networks, and how `[[clients]]` is read.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, LocalizedText, ValidationError, localized_text, named_enum};

use super::document::TableReader;
use super::key::ApiKeyDigest;
use super::network::Network;

named_enum! {
    /// A right of a key.
    pub(crate) enum Scope {
        TokenRead = "token:read",
        TokenReport = "token:report",
        MessageSend = "message:send",
        OutboxWrite = "outbox:write",
        OutboxRead = "outbox:read",
        OutboxDecide = "outbox:decide",
        Consent = "consent",
        Admin = "admin",
    }
}

/// One client of the configuration. Rights that are not listed are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiClient {
    pub(crate) name: String,
    pub(crate) keys: Vec<ClientKey>,
    pub(crate) apps: AppAccess,
    pub(crate) scopes: Vec<Scope>,
    /// Networks from which the keys may be used. Empty means any.
    pub(crate) allowed_networks: Vec<Network>,
}

/// One key of a client. Two at a time let a client change its key without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientKey {
    pub(crate) digest: ApiKeyDigest,
    /// From when on the key is denied.
    pub(crate) expires_at: Option<UnixMillis>,
}

/// The apps that a key may use. They need not be configured. `None` stands for all configured apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppAccess(pub(crate) Option<BTreeSet<AppId>>);

impl AppAccess {
    /// The apps that are named; none for all.
    pub(super) fn named(&self) -> impl Iterator<Item = &AppId> {
        self.0.iter().flatten()
    }

    /// Reads `apps`. `effect` is that of an empty list.
    pub(super) fn read(section: &mut TableReader<'_>, effect: LocalizedText) -> Self {
        if section.has_empty_list("apps") {
            let text = localized_text!(
                "is empty, so {effect}; add AppIDs, or \"*\"",
                "为空，{effect}；请添加 AppID，或写 \"*\"";
                effect
            );
            section.warning("apps", text);
        }
        let mut all = false;
        let appids = section.list("apps", |text| match text {
            "*" => {
                all = true;
                Ok(None)
            }
            text => {
                text.parse::<AppId>().map(Some).map_err(|invalid: ValidationError| invalid.rule().localized())
            }
        });
        let appids: BTreeSet<_> = appids.into_iter().flatten().collect();
        if all && !appids.is_empty() {
            section.refuse(
                "apps",
                "has \"*\" and AppIDs; keep one or the other",
                "既有 \"*\" 又有 AppID；请只保留其中一种",
            );
        }
        Self((!all).then_some(appids))
    }

    /// Whether all of these are among them. `None` stands for all apps.
    pub(crate) fn includes_all<'a>(&self, apps: Option<impl IntoIterator<Item = &'a AppId>>) -> bool {
        self.0.is_none() || apps.is_some_and(|apps| apps.into_iter().all(|app| self.includes(app)))
    }

    /// Whether it is among them.
    pub(crate) fn includes(&self, app: &AppId) -> bool {
        self.0.as_ref().is_none_or(|apps| apps.contains(app))
    }
}

impl ApiClient {
    pub(crate) fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn can_access(&self, app: &AppId) -> bool {
        self.apps.includes(app)
    }

    pub(crate) fn can_send(&self, app: &AppId) -> bool {
        self.has_scope(Scope::MessageSend) && self.can_access(app)
    }

    /// Whether the key may be used from this address. An unknown address is allowed only if any address is.
    pub(crate) fn allows_address(&self, address: Option<IpAddr>) -> bool {
        let known = |address| self.allowed_networks.iter().any(|network| network.contains(address));
        self.allowed_networks.is_empty() || address.is_some_and(known)
    }
}

/// The client of this key, and its entry. Compares all keys, so that the duration does not reveal which one matched.
pub(crate) fn find_by_key<'a, C: Borrow<ApiClient>>(
    clients: &'a [C],
    digest: &ApiKeyDigest,
) -> Option<(&'a C, &'a ClientKey)> {
    let keys = clients.iter().flat_map(|client| client.borrow().keys.iter().map(move |key| (client, key)));
    keys.fold(None, |found, (client, key)| if key.digest.ct_eq(digest) { Some((client, key)) } else { found })
}

/// Maximum length of a client's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Reads one `[[clients]]`.
pub(super) fn read(mut section: TableReader<'_>) -> Option<ApiClient> {
    for key in ["name", "apps", "scopes"] {
        section.check_present(key);
    }
    let name = name(&mut section);
    let keys = keys(&mut section);
    let effect = LocalizedText::new("the client may use no app", "该客户端不能使用任何应用");
    let apps = AppAccess::read(&mut section, effect);
    if section.has_empty_list("scopes") {
        section.warn(
            "scopes",
            "is empty, so the client may do nothing; add scopes",
            "为空，该客户端没有任何权限；请添加 scope",
        );
    }
    let scopes = section.list("scopes", |text| {
        let all = Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
        let found = Scope::ALL.iter().find(|scope| scope.as_str() == text);
        found.copied().ok_or_else(|| localized_text!("must be one of {all}", "必须是以下之一：{all}"))
    });
    let has_allowed_networks = section.has_empty_list("allowed_networks");
    let allowed_networks = section.list("allowed_networks", Network::parse);
    if has_allowed_networks {
        section.refuse(
            "allowed_networks",
            "is empty; list the networks from which the key may be used, or remove it",
            "为空；请列出允许使用该密钥的网段，或删除这一项",
        );
    }
    if scopes.contains(&Scope::TokenReport) && !scopes.contains(&Scope::TokenRead) {
        section.warn(
            "scopes",
            "has token:report, which allows nothing without token:read; add token:read",
            "有 token:report，但没有 token:read 时它不起作用；请添加 token:read",
        );
    }
    section.finish();
    Some(ApiClient { name: name?, keys, apps, scopes, allowed_networks })
}

/// The keys of `key_sha256` or `keys`.
fn keys(section: &mut TableReader<'_>) -> Vec<ClientKey> {
    if !section.has("keys") {
        section.check_present("key_sha256");
        let digest = digest(section, "key_sha256");
        return digest.map(|digest| ClientKey { digest, expires_at: None }).into_iter().collect();
    }
    if section.text("key_sha256").is_some() {
        section.refuse(
            "key_sha256",
            "is set together with keys; move it into keys",
            "与 keys 同时设置；请移到 keys 中",
        );
    }
    let entries = section.sections("keys");
    if entries.is_empty() {
        section.refuse(
            "keys",
            "is empty; list the keys of the client, or set key_sha256",
            "为空；请列出该客户端的密钥，或设置 key_sha256",
        );
    }
    let read = |mut entry: TableReader<'_>| {
        entry.check_present("sha256");
        let (digest, expires_at) = (digest(&mut entry, "sha256"), entry.expiry("expires"));
        entry.finish();
        Some(ClientKey { digest: digest?, expires_at })
    };
    entries.into_iter().filter_map(read).collect()
}

fn digest(section: &mut TableReader<'_>, key: &str) -> Option<ApiKeyDigest> {
    section.text_as(
        key,
        ApiKeyDigest::parse,
        "must be 64 lower-case hexadecimal digits, as `wxsub key new` prints them",
        "必须是 64 位小写十六进制数字，即 `wxsub key new` 输出的值",
    )
}

/// Reads the name of a client, an endpoint or a user.
pub(super) fn name(section: &mut TableReader<'_>) -> Option<String> {
    section.text_as(
        "name",
        |name| is_client_name(name).then(|| name.to_owned()),
        "must be 1 to 64 letters, digits, dots, hyphens or underscores",
        "必须是 1 到 64 个字母、数字、点、连字符或下划线",
    )
}

/// Whether a client's name is valid: 1 to 64 letters, digits, dots, hyphens or underscores.
#[must_use]
pub fn is_client_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wxsub_api::ApiKey;

    fn key(letter: &str) -> ClientKey {
        ClientKey { digest: ApiKeyDigest::of(&ApiKey::new(letter.repeat(43)).unwrap()), expires_at: None }
    }

    fn client(letter: &str) -> ApiClient {
        ApiClient {
            name: letter.to_owned(),
            keys: vec![key(letter)],
            apps: AppAccess(Some(["wx1".parse().unwrap()].into())),
            scopes: vec![Scope::TokenRead],
            allowed_networks: Vec::new(),
        }
    }

    #[test]
    fn only_listed_scopes_and_apps_are_allowed() {
        let mut one = client("a");
        assert!(one.has_scope(Scope::TokenRead) && !one.has_scope(Scope::Admin));
        assert!(one.can_access(&"wx1".parse().unwrap()) && !one.can_access(&"wx2".parse().unwrap()));
        let (first, second): (AppId, AppId) = ("wx1".parse().unwrap(), "wx2".parse().unwrap());
        let all = |one: &ApiClient, apps: Option<&[AppId]>| one.apps.includes_all(apps);
        assert!(
            all(&one, Some(std::slice::from_ref(&first)))
                && !all(&one, Some(std::slice::from_ref(&second)))
                && !all(&one, None)
        );
        one.apps = AppAccess(None);
        assert!(one.can_access(&second) && all(&one, Some(std::slice::from_ref(&second))) && all(&one, None));
    }

    #[test]
    fn key_is_allowed_only_from_its_networks() {
        let mut one = client("a");
        assert!(one.allows_address(None));
        one.allowed_networks = vec![Network::parse("10.0.0.0/8").unwrap()];
        let from = |text: &str| one.allows_address(Some(text.parse().unwrap()));
        assert!(from("10.1.2.3") && !from("11.1.2.3") && !one.allows_address(None));
    }

    #[test]
    fn client_is_found_by_each_of_its_keys() {
        let mut clients = ["a", "b", "c"].map(client);
        clients[1].keys.push(key("e"));
        for one in &clients {
            for key in &one.keys {
                assert_eq!(find_by_key(&clients, &key.digest), Some((one, key)));
            }
        }
        assert_eq!(find_by_key(&clients, &key("d").digest), None);
    }
}
