//! Settings for direct calls to Weixin, from flags and environment.

use std::sync::Arc;

use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, ValidationErrorKind};

use crate::console;
use crate::environment::{self, ALLOW_HTTP, API_BASE, APPID, TOKEN_ENDPOINT};
use crate::transport;
use crate::usage::UsageErrors;

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
        let transport = transport::open(
            bases.as_ref().unwrap_or(&BaseUrls::default()),
            TransportLimits::default(),
            usage,
        );
        Some(Self {
            appid: appid?,
            secret: secret?,
            endpoint: endpoint?,
            bases: bases?,
            transport: transport?,
        })
    }

    /// Warns that a fetch from `/cgi-bin/token` invalidates the token of other processes.
    pub(crate) fn warn_before_fetch(&self) {
        if self.endpoint == TokenEndpoint::Token {
            console::warning(format_args!(
                "a fetch from /cgi-bin/token invalidates the access token that other processes of this app use; \
                 {TOKEN_ENDPOINT}=stable_token avoids this"
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
            usage.add("--appid", format_args!("is missing; give it, or set {APPID}"));
            None
        }
    }
}

fn endpoint(usage: &mut UsageErrors) -> Option<TokenEndpoint> {
    let endpoints = [TokenEndpoint::StableToken, TokenEndpoint::Token];
    let Some(name) = environment::value(TOKEN_ENDPOINT, usage) else {
        return Some(TokenEndpoint::StableToken);
    };
    let found = endpoints.into_iter().find(|endpoint| endpoint.as_str() == name);
    if found.is_none() {
        usage.add(TOKEN_ENDPOINT, "must be stable_token or token");
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
            console::warning(format_args!(
                "{variable} is plain http:// to another machine ({ALLOW_HTTP}=1): secrets are sent unencrypted"
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
            usage.add(ALLOW_HTTP, "must be 1, or unset");
            None
        }
    }
}
