//! One app of the configuration.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::Transport;
use wxsub_outbox::MaybeSentPolicy;
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, LocalizedText, ValidationErrorKind, localized_text};

use super::document::TableReader;
use super::token_service::TokenServiceConfig;
use super::transport::{TransportCache, TransportSettings};
use super::{secret, token_service};

/// The settings of an app.
#[derive(Clone, derive_more::Debug)]
#[debug("AppConfig({appid}, {tokens:?}, {bases})")]
pub(crate) struct AppConfig {
    pub(crate) appid: AppId,
    pub(crate) tokens: TokenOrigin,
    pub(crate) bases: BaseUrls,
    settings: TransportSettings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) outbox: OutboxSettings,
}

/// Where the tokens of an app come from.
#[derive(Debug, Clone)]
pub(crate) enum TokenOrigin {
    Weixin { secret: AppSecret, endpoint: TokenEndpoint },
    Service(Arc<TokenServiceConfig>),
}

impl TokenOrigin {
    /// The name in status and API.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Weixin { endpoint, .. } => endpoint.as_str(),
            Self::Service(_) => "token_url",
        }
    }

    /// Compares secrets in constant time.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Weixin { secret, endpoint },
                Self::Weixin { secret: other_secret, endpoint: other_endpoint },
            ) => secret.ct_eq(other_secret) && endpoint == other_endpoint,
            (Self::Service(service), Self::Service(other)) => service.is_same(other),
            _ => false,
        }
    }
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
            && self.tokens.is_same(&other.tokens)
            && self.bases == other.bases
            && self.settings == other.settings
    }
}

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
    let tokens = tokens(&mut section, environment, transports);
    let bases = bases(&mut section);
    let transport = TransportSettings::read(&mut section, bases.as_ref(), environment)
        .and_then(|settings| Some((transports.get_or_build(&settings, &section, "ca_file")?, settings)));
    let outbox = outbox_settings(&mut section, has_ledger);
    section.finish();
    let (transport, settings) = transport?;
    Some(AppConfig { appid: appid?, tokens: tokens?, bases: bases?, settings, transport, outbox })
}

fn tokens(
    section: &mut TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
    transports: &mut TransportCache,
) -> Option<TokenOrigin> {
    let has_service = section.has("token_url");
    let service = token_service::read(section, transports);
    if has_service {
        ["secret_file", "secret_env", "token_endpoint"].into_iter().for_each(|key| section.ignore(key));
        return service.map(|service| TokenOrigin::Service(Arc::new(service)));
    }
    let (secret, endpoint) = (secret::read(section, environment), endpoint(section));
    Some(TokenOrigin::Weixin { secret: secret?, endpoint: endpoint? })
}

/// The default of `concurrency`: that of the outbox.
const DEFAULT_CONCURRENCY: u32 = 8;

fn outbox_settings(section: &mut TableReader<'_>, has_ledger: bool) -> OutboxSettings {
    if !has_ledger {
        for key in ["rate_per_s", "concurrency", "maybe_sent", "require_grant", "require_idempotency_key"] {
            section.check_needs(key, "[ledger]", LocalizedText::new("this key", "这一项"));
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
    let policy = |text: &str| match text {
        "hold" => Some(MaybeSentPolicy::Hold),
        "assume_sent" => Some(MaybeSentPolicy::AssumeSent),
        "give_up" => Some(MaybeSentPolicy::GiveUp),
        _ => None,
    };
    let policy = section.text_as(
        "maybe_sent",
        policy,
        "must be \"hold\", \"assume_sent\" or \"give_up\"",
        "必须是 \"hold\"、\"assume_sent\" 或 \"give_up\"",
    );
    policy.unwrap_or(MaybeSentPolicy::Hold)
}

/// Why an id is no AppID.
pub(super) const NO_APPID: LocalizedText = LocalizedText::new(
    "cannot be an AppID: it is not wx and 16 hexadecimal digits; copy the AppID from Weixin's console",
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
            section.warn(
                key,
                "is plain http:// to another machine: secrets travel unencrypted; use https://",
                "以 http:// 访问其他机器，密钥会明文传输；请改用 https://",
            );
            BaseUrl::insecure(text)
        }
        base => base,
    };
    base.map_err(|invalid| section.problem(key, invalid.rule())).ok()
}
