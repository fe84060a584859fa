//! One app of the configuration.

use std::collections::HashMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;

use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::Transport;
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_outbox::MaybeSentPolicy;
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, LocalizedText, ValidationErrorKind, localized_text};

use super::document::TableReader;
use super::file::{MAX_PEM_BYTES, read_regular_file, unreadable_file};
use super::secret;

/// The settings of an app.
#[derive(Clone)]
pub(crate) struct AppConfig {
    pub(crate) appid: AppId,
    pub(crate) secret: AppSecret,
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) bases: BaseUrls,
    settings: TransportSettings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) outbox: OutboxSettings,
}

/// How the outbox sends the messages of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxSettings {
    /// How many messages this process posts in a second. No limit if `None`.
    pub(crate) rate_per_s: Option<NonZeroU32>,
    /// How many queued messages this process posts at a time.
    pub(crate) concurrency: NonZeroUsize,
    /// What becomes of a message that may have been sent.
    pub(crate) maybe_sent: MaybeSentPolicy,
    pub(crate) require_grant: bool,
    pub(crate) require_idempotency_key: bool,
}

impl AppConfig {
    /// Whether all settings are the same as the other's, except those of the outbox, which need no other token cache.
    /// Compares the secrets in constant time.
    pub(crate) fn has_same_settings(&self, other: &Self) -> bool {
        self.appid == other.appid
            && self.secret.ct_eq(&other.secret)
            && self.endpoint == other.endpoint
            && self.bases == other.bases
            && self.settings == other.settings
    }
}

impl fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appid, endpoint, bases, .. } = self;
        f.debug_struct("AppConfig")
            .field("appid", appid)
            .field("endpoint", endpoint)
            .field("bases", bases)
            .finish()
    }
}

/// Proxy and trust roots of an app. The URL of the proxy may contain a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TransportSettings {
    proxy: Option<String>,
    trust_roots: TrustRoots,
}

/// The trusted certificate authorities.
#[derive(Clone, PartialEq, Eq, Hash)]
enum TrustRoots {
    System,
    /// No connection uses TLS, so the system need not have certificate authorities.
    None,
    Pem(Vec<u8>),
}

/// Transports by their settings. Apps with equal settings share connections.
#[derive(Default)]
pub(super) struct TransportCache(HashMap<TransportSettings, Arc<dyn Transport>>);

/// Reads one `[[apps]]`.
pub(super) fn read(
    mut section: TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
    transports: &mut TransportCache,
    has_ledger: bool,
) -> Option<AppConfig> {
    let appid = section.required("appid");
    if let Some(appid) = &appid
        && !can_be_appid(appid)
    {
        let reason = NO_APPID;
        section.warning("appid", localized_text!("{appid} {reason}", "{appid} {reason}"; reason));
    }
    let secret = secret::read(&mut section, environment);
    let endpoint = endpoint(&mut section);
    let bases = bases(&mut section);
    let transport = transport_settings(&mut section, bases.as_ref(), environment)
        .and_then(|settings| Some((transports.get_or_build(&settings, &section)?, settings)));
    let outbox = outbox_settings(&mut section, has_ledger);
    section.finish();
    let (transport, settings) = transport?;
    Some(AppConfig {
        appid: appid?,
        secret: secret?,
        endpoint: endpoint?,
        bases: bases?,
        settings,
        transport,
        outbox,
    })
}

/// The default of `concurrency`: that of the outbox.
const DEFAULT_CONCURRENCY: u32 = 8;

fn outbox_settings(section: &mut TableReader<'_>, has_ledger: bool) -> OutboxSettings {
    if !has_ledger {
        for key in ["rate_per_s", "concurrency", "maybe_sent", "require_grant", "require_idempotency_key"] {
            if section.has(key) {
                section.problem(
                    key,
                    LocalizedText::new(
                        "has an effect only with [ledger]; add it, or remove this key",
                        "只有配置了 [ledger] 才起作用；请添加 [ledger]，或删除这一项",
                    ),
                );
            }
        }
    }
    let has_rate = section.has("rate_per_s");
    let rate = section.number("rate_per_s", 1..=100_000, 1);
    let concurrency = section.number("concurrency", 1..=1_000, DEFAULT_CONCURRENCY);
    OutboxSettings {
        rate_per_s: NonZeroU32::new(rate).filter(|_| has_rate),
        concurrency: NonZeroUsize::new(concurrency as usize).unwrap_or(NonZeroUsize::MIN),
        maybe_sent: maybe_sent(section),
        require_grant: section.flag("require_grant"),
        require_idempotency_key: section.flag("require_idempotency_key"),
    }
}

fn maybe_sent(section: &mut TableReader<'_>) -> MaybeSentPolicy {
    match section.text("maybe_sent").as_deref() {
        None | Some("hold") => MaybeSentPolicy::Hold,
        Some("assume_sent") => MaybeSentPolicy::AssumeSent,
        Some("give_up") => MaybeSentPolicy::GiveUp,
        Some(_) => {
            section.problem(
                "maybe_sent",
                LocalizedText::new(
                    "must be \"hold\", \"assume_sent\" or \"give_up\"",
                    "必须是 \"hold\"、\"assume_sent\" 或 \"give_up\"",
                ),
            );
            MaybeSentPolicy::Hold
        }
    }
}

/// Why an id is no AppID.
pub(super) const NO_APPID: LocalizedText = LocalizedText::new(
    "cannot be an AppID: it is not wx and 16 hexadecimal digits; copy the AppID from the console",
    "不可能是 AppID：AppID 是 wx 加 16 位十六进制数字；请从微信后台复制",
);

/// Whether the id has the form of the AppIDs of apps and Official Accounts.
pub(super) fn can_be_appid(appid: &AppId) -> bool {
    let digits = appid.as_str().strip_prefix("wx");
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// There is no default, because the wrong endpoint invalidates the tokens of other programs.
const TOKEN_ENDPOINT_RULE: LocalizedText = LocalizedText::new(
    "must be \"stable_token\" or \"token\". \
     Write \"stable_token\" while anything else may fetch an access_token for this AppID: neither invalidates the other's. \
     Write \"token\" when only this server, and the servers that share its [store], have the AppSecret: \
     every fetch then invalidates the access_token before it, a leaked one too.",
    "必须是 \"stable_token\" 或 \"token\"。\
     只要还可能有其他程序获取这个 AppID 的 access_token，就写 \"stable_token\"：双方的 access_token 互不影响。\
     如果只有本服务器，以及与它共用 [store] 的服务器有 AppSecret，就写 \"token\"：\
     每次获取都会使之前的 access_token 失效，包括泄露的。",
);

fn endpoint(section: &mut TableReader<'_>) -> Option<TokenEndpoint> {
    let (is_given, name) = (section.has("token_endpoint"), section.text("token_endpoint"));
    let all = [TokenEndpoint::Token, TokenEndpoint::StableToken];
    let found = all.into_iter().find(|endpoint| name.as_deref() == Some(endpoint.as_str()));
    if !is_given || (name.is_some() && found.is_none()) {
        section.problem("token_endpoint", TOKEN_ENDPOINT_RULE);
    }
    found
}

fn bases(section: &mut TableReader<'_>) -> Option<BaseUrls> {
    let (given, allow_http) = (section.has("api_base"), section.flag("allow_http"));
    let Some(texts) = section.texts("api_base") else { return (!given).then(BaseUrls::default) };
    let bases: Vec<_> = texts.iter().map(|(key, text)| base(section, key, text, allow_http)).collect();
    let bases: Option<Vec<_>> = bases.into_iter().collect();
    BaseUrls::new(bases?).map_err(|invalid| section.problem("api_base", invalid.rule())).ok()
}

fn base(section: &TableReader<'_>, key: &str, text: &str, allow_http: bool) -> Option<BaseUrl> {
    let base = match BaseUrl::new(text) {
        Err(invalid) if invalid.rule() == &ValidationErrorKind::InsecureScheme && allow_http => {
            section.warning(
                key,
                LocalizedText::new(
                    "is plain http:// to another machine: secrets travel unencrypted; use https://",
                    "以 http:// 访问其他机器，密钥会明文传输；请改用 https://",
                ),
            );
            BaseUrl::insecure(text)
        }
        base => base,
    };
    base.map_err(|invalid| section.problem(key, invalid.rule())).ok()
}

pub(super) fn transport_settings(
    section: &mut TableReader<'_>,
    bases: Option<&BaseUrls>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<TransportSettings> {
    let (proxy, ca_file) = (section.text("proxy"), section.text("ca_file"));
    if proxy.is_none()
        && let Some((base, name)) = bases
            .and_then(|bases| bases.iter().find_map(|base| Some((base, ignored_proxy(base, environment)?))))
    {
        let host = base.host();
        section.warning(
            "proxy",
            localized_text!(
                "is absent, and the server does not use the proxy that {name} names; set proxy to go through it, or add \
                 {host} to NO_PROXY",
                "没有设置，服务器不会使用 {name} 指定的代理；要经过该代理请设置 proxy，否则请把 {host} 加入 NO_PROXY"
            ),
        );
    }
    let plain = bases?.iter().all(|base| base.as_str().starts_with("http://"));
    let trust_roots = match ca_file {
        Some(path) => match read_regular_file(Path::new(&path), MAX_PEM_BYTES) {
            Ok(pem) => TrustRoots::Pem(pem),
            Err(error) => {
                section.problem("ca_file", unreadable_file(&error));
                return None;
            }
        },
        None if plain && proxy.is_none() => TrustRoots::None,
        None => TrustRoots::System,
    };
    Some(TransportSettings { proxy, trust_roots })
}

impl TransportCache {
    pub(super) fn get_or_build(
        &mut self,
        settings: &TransportSettings,
        section: &TableReader<'_>,
    ) -> Option<Arc<dyn Transport>> {
        if let Some(transport) = self.0.get(settings) {
            return Some(Arc::clone(transport));
        }
        let roots = match &settings.trust_roots {
            TrustRoots::System => Roots::System,
            TrustRoots::None => Roots::Bundled,
            TrustRoots::Pem(pem) => Roots::Pem(pem.clone()),
        };
        let mut builder = HyperTransport::builder().roots(roots);
        if let Some(url) = &settings.proxy {
            builder = builder.proxy(url).map_err(|error| section.problem("proxy", error.localized())).ok()?;
        }
        let built = builder.build().map_err(|error| section.problem("ca_file", error.localized()));
        let transport: Arc<dyn Transport> = Arc::new(built.ok()?);
        self.0.insert(settings.clone(), Arc::clone(&transport));
        Some(transport)
    }
}

/// The environment variable that sets a proxy for this address, by the convention of curl.
///
/// wxsub uses only a proxy of its own configuration, so callers warn about the variable. Returns `None` for a loopback
/// address, and for hosts that `NO_PROXY` lists.
pub fn ignored_proxy(base: &BaseUrl, environment: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let exempt = |list: String| list.split(',').any(|entry| covers(entry.trim(), base.host()));
    if base.is_loopback() || ["NO_PROXY", "no_proxy"].into_iter().filter_map(is_set).any(exempt) {
        return None;
    }
    let names = match base.as_str().starts_with("https://") {
        true => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    names.into_iter().find(|name| is_set(name).is_some())
}

/// Whether an entry of `NO_PROXY` covers a host: the host itself, a domain above it, or `*`.
fn covers(entry: &str, host: &str) -> bool {
    let domain = entry.trim_start_matches('.');
    let above = || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    entry == "*" || (!domain.is_empty() && (host == domain || above()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(base: &str, set: &[(&str, &str)]) -> Option<&'static str> {
        let base = BaseUrl::insecure(base).unwrap();
        ignored_proxy(&base, |name| {
            set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variable_matches_the_scheme_of_the_address() {
        let proxy = "http://192.0.2.1:3128";
        for (base, name, expected) in [
            (BaseUrl::API, "HTTPS_PROXY", Some("HTTPS_PROXY")),
            (BaseUrl::API, "https_proxy", Some("https_proxy")),
            (BaseUrl::API, "ALL_PROXY", Some("ALL_PROXY")),
            (BaseUrl::API, "HTTP_PROXY", None),
            ("http://192.0.2.9", "HTTP_PROXY", Some("HTTP_PROXY")),
            ("http://192.0.2.9", "HTTPS_PROXY", None),
            ("http://127.0.0.1:8460", "HTTP_PROXY", None),
            ("https://localhost", "HTTPS_PROXY", None),
        ] {
            assert_eq!(found(base, &[(name, proxy)]), expected, "{base} {name}");
        }
        assert_eq!(found(BaseUrl::API, &[("HTTPS_PROXY", "")]), None);
    }

    #[test]
    fn no_proxy_exempts_hosts_and_domains() {
        for (list, expected) in [
            ("*", None),
            ("api.weixin.qq.com", None),
            ("10.0.0.0/8, .qq.com", None),
            ("weixin.qq.com", None),
            ("in.qq.com", Some("HTTPS_PROXY")),
            ("localhost,", Some("HTTPS_PROXY")),
        ] {
            let set = [("HTTPS_PROXY", "http://192.0.2.1:3128"), ("no_proxy", list)];
            assert_eq!(found(BaseUrl::API, &set), expected, "{list}");
        }
    }
}
