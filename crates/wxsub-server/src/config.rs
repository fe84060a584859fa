//! The configuration file. Reading it reports every problem at once.

mod app;
mod client;
mod consent;
mod console;
mod database;
mod document;
mod file;
mod inbox;
mod include;
mod key;
mod ledger;
mod network;
mod password;
mod secret;
mod store;
mod target;
mod tls;
mod token_service;
mod transport;
mod webhook;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::{AppId, LocalizedText, localized_text};

use self::app::NO_APPID;
pub(crate) use self::app::{AppConfig, OutboxSettings, TokenOrigin};
pub use self::client::is_client_name;
pub(crate) use self::client::{ApiClient, AppAccess, Scope, find_by_key};
pub(crate) use self::consent::ConsentConfig;
use self::console::Listening;
pub(crate) use self::console::{ConsoleAddress, ConsoleUser, Role};
pub use self::document::{ConfigError, Diagnostic};
use self::document::{Document, Place, TableReader, without_places};
pub(crate) use self::file::{Links, open_regular, owner_only, with_tried_path, without_blocking};
use self::file::{MAX_CONFIG_BYTES, read_text};
pub(crate) use self::inbox::{InboxConfig, InboxDatabase};
pub use self::key::{ApiKeyDigest, generate_api_key};
pub(crate) use self::ledger::LedgerConfig;
pub(crate) use self::network::Network;
pub use self::password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, hash_password};
pub(crate) use self::password::{PasswordHash, PasswordMemory};

pub(crate) use self::store::SharedStore;
pub(crate) use self::tls::Tls;
pub(crate) use self::token_service::TokenServiceConfig;
use self::transport::TransportCache;
pub use self::transport::ignored_proxy;
pub(crate) use self::webhook::WebhookConfig;

/// The default of `listen`.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8460);

/// A validated configuration of the server.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) start: StartSettings,
    pub(crate) tls: Option<Tls>,
    pub(crate) apps: Vec<AppConfig>,
    pub(crate) clients: Vec<ApiClient>,
    /// The proxies whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) limits: Limits,
    pub(crate) inboxes: Vec<InboxConfig>,
    pub(crate) consent: Option<ConsentConfig>,
    /// Who may log in to the console.
    pub(crate) console_users: Vec<ConsoleUser>,
    pub(crate) webhooks: Vec<Arc<WebhookConfig>>,
}

/// The settings that only a restart changes: sockets, files, the store and the ledger are open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartSettings {
    pub(crate) listen: SocketAddr,
    /// A socket must not go from TLS to clear text while it is open.
    has_tls: bool,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) audit: AuditConfig,
    pub(crate) store: Option<SharedStore>,
    pub(crate) ledger: Option<LedgerConfig>,
    pub(crate) console: Option<ConsoleAddress>,
}

impl StartSettings {
    /// The keys that differ.
    pub(crate) fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let changes = [
            ("listen", self.listen != other.listen),
            ("tls_cert_file", self.has_tls != other.has_tls),
            ("metrics_listen", self.metrics_listen != other.metrics_listen),
            ("state_dir", self.state_dir != other.state_dir),
            ("audit", self.audit.to != other.audit.to),
            ("audit_required", self.audit.is_required != other.audit.is_required),
            ("store", self.store != other.store),
            ("ledger", self.ledger != other.ledger),
            ("console", self.console != other.console),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditConfig {
    pub(crate) to: AuditTo,
    /// Whether a request is refused whose line is not on the disk.
    pub(crate) is_required: bool,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuditTo {
    Stderr,
    File(PathBuf),
    Off,
}

/// Maximum number of connections to the listener of the console, and to that of `/metrics`.
pub(crate) const MAX_SIDE_CONNECTIONS: usize = 64;

/// Limits of the server's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// Open connections of one address.
    pub(crate) connections_per_address: usize,
    /// TLS handshakes of one address in a second. Later ones wait.
    pub(crate) handshakes_per_address: usize,
    /// Requests of one client in a second. Later ones wait.
    pub(crate) requests_per_key: usize,
    pub(crate) in_flight: usize,
    /// Requests in flight of one client.
    pub(crate) in_flight_per_key: usize,
    /// Limit for receiving the head of a request.
    pub(crate) header: Duration,
    /// Limit for handling a request.
    pub(crate) request: Duration,
    /// Limit for finishing requests at a stop.
    pub(crate) drain: Duration,
    pub(crate) body: usize,
}

impl Limits {
    /// Open connections of one address to the listener of the console, or to that of `/metrics`. At least four addresses share them.
    pub(crate) fn side_connections_per_address(&self) -> usize {
        self.connections_per_address.min(MAX_SIDE_CONNECTIONS / 4)
    }
}

impl Config {
    /// Reads a configuration in TOML and the files that it names. `environment` returns the value of a variable.
    ///
    /// `include` is relative to the working directory. Returns the configuration and its warnings.
    ///
    /// # Errors
    /// [`ConfigError`] lists every problem, with its line, its path and what to do.
    pub fn read(
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), ConfigError> {
        Self::read_document(Document::new(text, None), &environment)
    }

    /// Like [`read`](Self::read), for a regular file of at most 16 MiB. `include` is relative to its folder.
    ///
    /// # Errors
    /// As [`read`](Self::read). A file that cannot be read is a problem.
    pub fn from_file(
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), ConfigError> {
        let text = read_text(path, MAX_CONFIG_BYTES).map_err(|text| ConfigError::of_file(path, text))?;
        Self::read_document(Document::new(&text, Some(path)), &environment)
    }

    fn read_document(
        document: Document<'_>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), ConfigError> {
        let config = document.parse().map(|top| Self::parse(top, environment));
        document.finish(config)
    }

    /// The address to listen on.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.start.listen
    }

    /// The address of a listener for `/metrics` alone, if it is configured.
    #[must_use]
    pub fn metrics_listen(&self) -> Option<SocketAddr> {
        self.start.metrics_listen
    }

    /// The address of the console's listener, if it is configured.
    #[must_use]
    pub fn console_listen(&self) -> Option<SocketAddr> {
        self.start.console.as_ref().map(|console| console.listen)
    }

    /// Whether the server terminates TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn parse(mut top: TableReader<'_>, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let (listen, tls, is_plaintext_allowed) = listen(&mut top);
        let metrics_listen = top.address("metrics_listen");
        let state_dir = path(&mut top, "state_dir");
        let audit = audit(&mut top);
        let trusted_proxies = trusted_proxies(&mut top);
        let (has_ledger, ledger) = (top.has("ledger"), ledger::read(&mut top));
        let inboxes = inbox::read_all(&mut top, has_ledger);
        let consent = consent::read(&mut top);
        let listening = Listening { has_tls: tls.is_some(), is_plaintext_allowed };
        let (console, console_users) = console::read(&mut top, &listening).unzip();
        let console_listen = console.as_ref().map(|console| console.listen);
        check_listeners(
            &top,
            &[("listen", Some(listen)), ("metrics_listen", metrics_listen), ("console", console_listen)],
        );
        let mut transports = TransportCache::default();
        let has_apps = top.has("apps") || top.has("include");
        let (mut apps, mut clients) = (Vec::new(), Vec::new());
        let mut read_lists = |table: &mut TableReader<'_>| {
            let app = |section: TableReader<'_>| app::read(section, environment, &mut transports, has_ledger);
            apps.extend(table.placed_sections("apps", app));
            clients.extend(table.placed_sections("clients", client::read));
        };
        read_lists(&mut top);
        include::read_all(&mut top, &mut read_lists);
        let webhook =
            |section: TableReader<'_>| webhook::read(section, environment, &mut transports, has_ledger);
        let webhooks = top.placed_sections("webhooks", webhook);
        let limits = limits(top.section("limits"));
        let store = store::read(top.section("store"));
        check_unique(&top, &apps, &clients);
        top.check_unique("name", webhooks.iter().map(|(place, webhook)| (place, &webhook.endpoint.name)));
        let apps = without_places(apps);
        warn_of_unknown_apps(&top, &apps, &clients, &inboxes, &webhooks);
        if !has_apps {
            top.problem("apps", NO_APPS);
        }
        top.finish();
        let has_tls = tls.is_some();
        Self {
            start: StartSettings {
                listen,
                has_tls,
                metrics_listen,
                state_dir,
                audit,
                store,
                ledger,
                console,
            },
            tls,
            apps,
            clients: without_places(clients),
            trusted_proxies,
            limits,
            inboxes: without_places(inboxes),
            consent,
            console_users: console_users.unwrap_or_default(),
            webhooks: without_places(webhooks).into_iter().map(Arc::new).collect(),
        }
    }
}

const NO_APPS: LocalizedText = LocalizedText::new(
    "is missing; add [[apps]] with appid and secret_file",
    "未填写；请添加 [[apps]]，写上 appid 和 secret_file",
);

fn listen(top: &mut TableReader<'_>) -> (SocketAddr, Option<Tls>, bool) {
    let listen = top.address("listen").unwrap_or(DEFAULT_LISTEN);
    let plaintext = top.flag("plaintext");
    let wants = ["tls_cert_file", "tls_key_file"].map(|key| top.has(key));
    let tls = match (path(top, "tls_cert_file"), path(top, "tls_key_file")) {
        (Some(certificate), Some(key)) => Tls::read(top, &certificate, &key),
        _ => None,
    };
    match wants {
        [true, false] => top.refuse(
            "tls_key_file",
            "is missing; it belongs to tls_cert_file",
            "未填写；它要和 tls_cert_file 一起设置",
        ),
        [false, true] => top.refuse(
            "tls_cert_file",
            "is missing; it belongs to tls_key_file",
            "未填写；它要和 tls_key_file 一起设置",
        ),
        [false, false] if !plaintext && !listen.ip().is_loopback() => {
            let secrets = LocalizedText::new("keys and tokens", "密钥和 access_token ");
            tls::refuse_plaintext(top, secrets);
        }
        _ => {}
    }
    (listen, tls, plaintext)
}

/// Each listener needs a port of its own. One without an address takes the port of every address.
fn check_listeners(top: &TableReader<'_>, listeners: &[(&str, Option<SocketAddr>)]) {
    let is_same = |one: SocketAddr, other: SocketAddr| {
        let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
        let has_same_ip = one.ip() == other.ip() || (is_any && one.is_ipv4() == other.is_ipv4());
        has_same_ip && one.port() == other.port() && one.port() != 0
    };
    let listeners = listeners.iter().filter_map(|(key, address)| Some((key, (*address)?)));
    for (index, (key, address)) in listeners.clone().enumerate() {
        if let Some((other, _)) = listeners.clone().take(index).find(|(_, other)| is_same(address, *other)) {
            let text = localized_text!(
                "listens on {address}, where {other} listens already; choose another port",
                "监听 {address}，与 {other} 冲突；请换一个端口"
            );
            top.problem(key, text);
        }
    }
}

fn path(top: &mut TableReader<'_>, key: &str) -> Option<PathBuf> {
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    top.text_as(key, path, "is empty; give it a path or remove it", "为空；请填写路径，或删除这一项")
}

fn audit(top: &mut TableReader<'_>) -> AuditConfig {
    let is_given = top.has("audit");
    let text = top.text("audit");
    let is_valid = !is_given || text.as_ref().is_some_and(|text| !text.is_empty());
    let to = match text.as_deref() {
        None | Some("stderr") => AuditTo::Stderr,
        Some("off") => AuditTo::Off,
        Some("") => {
            top.refuse("audit", "must be \"stderr\", \"off\" or a path", "必须是 \"stderr\"、\"off\" 或路径");
            AuditTo::Off
        }
        Some(path) => AuditTo::File(path.into()),
    };
    let is_required = top.flag("audit_required");
    if is_valid && is_required && !matches!(to, AuditTo::File(_)) {
        top.refuse(
            "audit_required",
            "needs a file; set audit to its path",
            "需要一个文件；请把 audit 设为它的路径",
        );
    }
    AuditConfig { to, is_required }
}

fn trusted_proxies(top: &mut TableReader<'_>) -> Vec<Network> {
    top.list("trusted_proxies", |text| {
        let network = Network::parse(text)?;
        match network.is_everything() {
            true => Err(LocalizedText::new(
                "trusts every address; list the addresses of your proxies",
                "信任了所有地址；请只列出你的代理的地址",
            )
            .into()),
            false => Ok(network),
        }
    })
}

fn limits(mut section: TableReader<'_>) -> Limits {
    let mut number = |key, range, default| section.number(key, range, default);
    let request_s = number("request_timeout_s", 1..=600, 30);
    let limits = Limits {
        connections: number("connections", 1..=1_000_000, 4096) as usize,
        connections_per_address: number("connections_per_address", 1..=1_000_000, 1024) as usize,
        handshakes_per_address: number("handshakes_per_address", 1..=1_000_000, 200) as usize,
        requests_per_key: number("requests_per_key", 1..=1_000_000, 1000) as usize,
        in_flight: number("in_flight", 1..=1_000_000, 1024) as usize,
        in_flight_per_key: number("in_flight_per_key", 1..=1_000_000, 512) as usize,
        header: Duration::from_secs(number("header_timeout_s", 1..=600, 10).into()),
        request: Duration::from_secs(request_s.into()),
        drain: Duration::from_secs(number("drain_s", 1..=600, request_s).into()),
        body: number("body_bytes", 1024..=1_048_576, 65_536) as usize,
    };
    section.finish();
    limits
}

fn check_unique(top: &TableReader<'_>, apps: &[(Place, AppConfig)], clients: &[(Place, ApiClient)]) {
    top.check_unique("appid", apps.iter().map(|(place, app)| (place, &app.appid)));
    top.check_unique("name", clients.iter().map(|(place, client)| (place, &client.name)));
    let keys =
        clients.iter().flat_map(|(place, client)| client.keys.iter().map(move |key| (place, key.digest)));
    top.check_unique("key_sha256", keys);
}

/// Warns of each AppID in the list of a client, an inbox or a webhook that is not configured. It may be mistyped, or be added later.
fn warn_of_unknown_apps(
    top: &TableReader<'_>,
    apps: &[AppConfig],
    clients: &[(Place, ApiClient)],
    inboxes: &[(Place, InboxConfig)],
    webhooks: &[(Place, WebhookConfig)],
) {
    let known: HashSet<_> = apps.iter().map(|app| &app.appid).collect();
    let warn = |place: &Place, name: &str, named: &mut dyn Iterator<Item = &AppId>| {
        for appid in named.filter(|appid| !known.contains(appid)) {
            top.warning_at(place.clone(), unknown_app(name, appid));
        }
    };
    clients.iter().for_each(|(place, client)| warn(place, &client.name, &mut client.apps.named()));
    inboxes.iter().for_each(|(place, inbox)| warn(place, "apps", &mut inbox.apps.named()));
    for (place, webhook) in webhooks {
        warn(place, "apps", &mut webhook.endpoint.apps.iter().flatten());
    }
}

fn unknown_app(name: &str, appid: &AppId) -> LocalizedText<String> {
    match app::can_be_appid(appid) {
        true => localized_text!(
            "{name} names the app {appid}, which is not configured; add the app or correct the AppID",
            "{name} 中的应用 {appid} 没有配置；请添加该应用，或改正 AppID"
        ),
        false => {
            let reason = NO_APPID;
            localized_text!("{name} names {appid}, which {reason}", "{name} 中的 {appid} {reason}"; reason)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
