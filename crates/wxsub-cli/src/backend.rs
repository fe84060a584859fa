//! Where messages and access tokens come from: Weixin with the AppSecret, or a control server with a client key. The settings
//! come from flags and environment.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use wxsub_client::ControlServer;
use wxsub_core::Client;
use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_hyper::{BuildError, HyperTransport, Roots, TlsConfigError};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, ValidationErrorKind};
use wxsub_server::ignored_proxy;

use crate::console;
use crate::environment::{self, ALLOW_HTTP, API_BASE, APPID, CA_FILE, PROXY, SERVER, TOKEN_ENDPOINT};
use crate::error::{CliError, UsageErrors};
use crate::input::read_at_most;
use crate::language::{localized, shown};

/// Backend for messages and access tokens.
pub(crate) enum Backend {
    /// Weixin, with the AppSecret.
    Direct(DirectConfig),
    /// A control server, with a client key.
    ControlServer(ServerConfig),
}

impl Backend {
    /// Reads the settings from the flag and the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        if environment::uses_control_server() {
            ServerConfig::read(appid_flag, usage).map(Self::ControlServer)
        } else {
            DirectConfig::read(appid_flag, usage).map(Self::Direct)
        }
    }
}

/// An app and its access to Weixin.
pub(crate) struct DirectConfig {
    /// AppID.
    pub(crate) appid: AppId,
    /// AppSecret.
    pub(crate) secret: AppSecret,
    /// Endpoint that issues access tokens.
    pub(crate) endpoint: TokenEndpoint,
    /// Base URLs of Weixin's API.
    pub(crate) bases: BaseUrls,
    /// Transport for the requests.
    pub(crate) transport: Arc<dyn Transport>,
}

impl DirectConfig {
    /// Reads the settings from the flag and the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        let appid = appid(appid_flag, usage);
        let secret = environment::secret(usage);
        let endpoint = endpoint(usage);
        let bases = bases(usage);
        let transport =
            open_transport(bases.as_ref().unwrap_or(&BaseUrls::default()), TransportLimits::default(), usage);
        Some(Self {
            appid: appid?,
            secret: secret?,
            endpoint: endpoint?,
            bases: bases?,
            transport: transport?,
        })
    }

    /// The same for a command whose worker sends to Weixin. Variables of a control server are an error.
    pub(crate) fn read_for_worker(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        if environment::uses_control_server() {
            usage.add(
                "--outbox",
                localized!(
                    "sends to Weixin itself; unset WXSUB_SERVER and WXSUB_KEY",
                    "直接向微信发送；请取消设置 WXSUB_SERVER 和 WXSUB_KEY"
                ),
            );
            return None;
        }
        Self::read(appid_flag, usage)
    }

    /// A client with this timeout of one message. Warns if its token invalidates others.
    pub(crate) fn client(self, timeout: Duration) -> Result<Client, CliError> {
        self.warn_before_fetch();
        let Self { appid, secret, endpoint, bases, transport } = self;
        let client = Client::builder(appid, secret, transport).api_bases(bases).timeout(timeout);
        client.token_cache(|cache| cache.endpoint(endpoint)).build().map_err(CliError::unexpected)
    }

    /// Warns that a fetch from `/cgi-bin/token` invalidates the token of other processes.
    pub(crate) fn warn_before_fetch(&self) {
        if self.endpoint == TokenEndpoint::Token {
            console::warning(localized!(
                "a fetch from /cgi-bin/token invalidates the access token that other processes of this app use; \
                 {TOKEN_ENDPOINT}=stable_token avoids this",
                "从 /cgi-bin/token 获取会使该应用其他进程正在使用的 access_token 失效；设置 {TOKEN_ENDPOINT}=stable_token 可以避免"
            ));
        }
    }
}

/// Reads the AppID from the flag, else from the environment.
pub(crate) fn appid(flag: Option<&str>, usage: &mut UsageErrors) -> Option<AppId> {
    if flag.is_some() {
        return usage.optional("--appid", flag);
    }
    match environment::value(APPID, usage) {
        Some(appid) => usage.optional(APPID, Some(&appid)),
        None => {
            usage.add(
                "--appid",
                localized!("is missing; give it, or set {APPID}", "未填写；请填写，或设置 {APPID}"),
            );
            None
        }
    }
}

/// Whether the flag or the environment has an AppID.
pub(crate) fn has_appid(flag: Option<&str>) -> bool {
    flag.is_some() || environment::value_lossy(APPID).is_some()
}

fn endpoint(usage: &mut UsageErrors) -> Option<TokenEndpoint> {
    let Some(name) = environment::value(TOKEN_ENDPOINT, usage) else {
        return Some(TokenEndpoint::StableToken);
    };
    let found = TokenEndpoint::ALL.iter().copied().find(|endpoint| endpoint.as_str() == name);
    if found.is_none() {
        usage
            .add(TOKEN_ENDPOINT, localized!("must be stable_token or token", "必须是 stable_token 或 token"));
    }
    found
}

/// Reads the base URLs of Weixin's API: one, or several separated by commas.
fn bases(usage: &mut UsageErrors) -> Option<BaseUrls> {
    let texts = environment::value(API_BASE, usage).unwrap_or_else(|| BaseUrl::API.to_owned());
    let allow_http = allows_http(usage)?;
    let urls: Vec<_> =
        texts.split(',').map(|text| read_base(API_BASE, text.trim(), allow_http, usage)).collect();
    let urls: Option<Vec<_>> = urls.into_iter().collect();
    usage.collect(API_BASE, BaseUrls::new(urls?))
}

/// Reads the base URL of a server. Plain HTTP to another machine needs `WXSUB_ALLOW_HTTP=1`.
pub(crate) fn base(variable: &'static str, default: &str, usage: &mut UsageErrors) -> Option<BaseUrl> {
    let text = environment::value(variable, usage).unwrap_or_else(|| default.to_owned());
    let allow_http = allows_http(usage)?;
    read_base(variable, &text, allow_http, usage)
}

fn read_base(
    variable: &'static str,
    text: &str,
    allow_http: bool,
    usage: &mut UsageErrors,
) -> Option<BaseUrl> {
    match BaseUrl::new(text) {
        Err(invalid) if invalid.rule() == &ValidationErrorKind::InsecureScheme && allow_http => {
            console::warning(localized!(
                "{variable} is plain http:// to another machine ({ALLOW_HTTP}=1): secrets are sent unencrypted",
                "{variable} 以 http:// 访问其他机器（{ALLOW_HTTP}=1）：密钥会明文传输"
            ));
            usage.collect(variable, BaseUrl::insecure(text))
        }
        result => usage.collect(variable, result),
    }
}

fn allows_http(usage: &mut UsageErrors) -> Option<bool> {
    match environment::value(ALLOW_HTTP, usage).as_deref() {
        None | Some("0") => Some(false),
        Some("1") => Some(true),
        Some(_) => {
            usage.add(ALLOW_HTTP, localized!("must be 1, or unset", "必须是 1，或不设置"));
            None
        }
    }
}

/// Request timeout of the transport. It is longer than that of a call, which is at most 3600 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3660);

/// Idle time after which a connection is closed. The server closes it after `header_timeout_s`, 10 s by default.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum length of a response of the server. The readiness of 10 000 apps has almost a megabyte.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

fn server_limits() -> TransportLimits {
    let limits = TransportLimits::default().body_bytes(MAX_RESPONSE_BYTES);
    limits.request_timeout(REQUEST_TIMEOUT).pool_idle_timeout(POOL_IDLE_TIMEOUT)
}

/// A control server, and the app that the requests are for.
pub(crate) struct ServerConfig {
    /// AppID.
    pub(crate) appid: AppId,
    /// Control server, with the client key.
    pub(crate) server: ControlServer,
}

impl ServerConfig {
    /// Reads the settings from the flag and the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        let appid = appid(appid_flag, usage);
        let access = ServerAccess::read(usage);
        Some(Self { appid: appid?, server: access?.server })
    }
}

/// A control server, and the way to it.
pub(crate) struct ServerAccess {
    /// Base URL of the server.
    pub(crate) base: BaseUrl,
    /// Transport for the requests.
    pub(crate) transport: Arc<dyn Transport>,
    /// Control server, with the client key.
    pub(crate) server: ControlServer,
}

impl ServerAccess {
    /// Reads the settings from the environment.
    pub(crate) fn read(usage: &mut UsageErrors) -> Option<Self> {
        if environment::uses_control_server() {
            environment::reject_secret(usage);
        }
        let key = environment::key(usage);
        if environment::value(SERVER, usage).is_none() {
            usage.add(
                SERVER,
                localized!(
                    "is not set; set it to the base URL of the control server, or unset the key",
                    "没有设置；请设为中控服务器的地址，或取消设置密钥"
                ),
            );
            return None;
        }
        let base = base(SERVER, "", usage)?;
        let transport = open_transport(&base.clone().into(), server_limits(), usage)?;
        let server = ControlServer::new(base.clone(), key?, Arc::clone(&transport));
        Some(Self { base, transport, server })
    }
}

/// Builds a transport for these hosts, with the proxy and certificate authorities of the environment.
///
/// Warns if the environment names a proxy that is not used.
fn open_transport(
    bases: &BaseUrls,
    limits: TransportLimits,
    usage: &mut UsageErrors,
) -> Option<Arc<dyn Transport>> {
    let proxy = environment::value(PROXY, usage);
    if proxy.is_none()
        && let Some((base, name)) =
            bases.iter().find_map(|base| Some((base, ignored_proxy(base, environment::value_lossy)?)))
    {
        let host = base.host();
        console::warning(localized!(
            "the proxy in {name} is not used; set {PROXY} to use it, or add {host} to NO_PROXY",
            "{name} 中的代理没有使用；要使用请设置 {PROXY}，否则请把 {host} 加入 NO_PROXY"
        ));
    }
    let mut builder = HyperTransport::builder().limits(limits).roots(roots(bases, proxy.is_some(), usage)?);
    if let Some(url) = proxy {
        builder = builder.proxy(&url).map_err(|error| usage.add(PROXY, shown(&error.localized()))).ok()?;
    }
    match builder.build() {
        Ok(transport) => Some(Arc::new(transport)),
        Err(BuildError::Tls(TlsConfigError::NoSystemRoots(why))) => {
            usage.add(
                CA_FILE,
                localized!(
                    "is not set, and this machine has no certificate authorities ({why}); install the \
                     ca-certificates package, or set it to the path of a PEM file",
                    "没有设置，而本机没有 CA 证书（{why}）；请安装 ca-certificates 软件包，或设为 PEM 文件的路径"
                ),
            );
            None
        }
        Err(error) => {
            usage.add(CA_FILE, shown(&error.localized()));
            None
        }
    }
}

/// Maximum size of the file of `WXSUB_CA_FILE`, in bytes.
const MAX_CA_BYTES: u64 = 1 << 20;

fn roots(bases: &BaseUrls, uses_proxy: bool, usage: &mut UsageErrors) -> Option<Roots> {
    match environment::value(CA_FILE, usage) {
        Some(path) => File::open(path)
            .and_then(|file| read_at_most(file, MAX_CA_BYTES))
            .map(Roots::Pem)
            .map_err(|error| usage.add(CA_FILE, environment::unreadable_file(&error)))
            .ok(),
        // No certificate is checked, so the machine needs no certificate authorities.
        None if bases.iter().all(|base| base.as_str().starts_with("http://")) && !uses_proxy => {
            Some(Roots::Bundled)
        }
        None => Some(Roots::System),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use wxsub_client::{ApiKey, ControlServerError};

    use super::*;

    /// The longest `--timeout` ends a call before the transport does. With a connection, the clock jumps to the next timeout.
    #[tokio::test]
    async fn transport_waits_longer_than_any_call() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let transport =
            HyperTransport::builder().roots(Roots::Bundled).limits(server_limits()).build().unwrap();
        let key = ApiKey::new("k".repeat(ApiKey::LENGTH)).unwrap();
        let server = ControlServer::new(base, key, transport).timeout(Duration::from_secs(3600));
        let accept = async {
            let connection = silent.accept().await.unwrap();
            tokio::time::pause();
            connection
        };
        let appid = "wx1".parse().unwrap();
        let (result, _connection) = tokio::join!(server.token(&appid), accept);
        let error = result.unwrap_err();
        assert!(matches!(error, ControlServerError::Timeout), "{error}");
    }
}
