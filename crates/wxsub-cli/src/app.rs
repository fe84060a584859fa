//! Which app, and how to reach Weixin for it: from flags and environment.

use std::sync::Arc;

use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, ValidationErrorKind};

use crate::console;
use crate::environment::{self, ALLOW_HTTP, API_BASE, APPID, TOKEN_ENDPOINT};
use crate::transport;
use crate::usage::UsageErrors;

/// An app that can call Weixin.
pub(crate) struct DirectConfig {
    /// Which app.
    pub(crate) appid: AppId,
    /// The proof of being it.
    pub(crate) secret: AppSecret,
    /// Where its tokens come from.
    pub(crate) endpoint: TokenEndpoint,
    /// Where the API is.
    pub(crate) bases: BaseUrls,
    /// How requests get there.
    pub(crate) transport: Arc<dyn Transport>,
}

impl DirectConfig {
    /// The app of these flags and of the environment.
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

    /// Says what a fetch does to others, before it is made.
    pub(crate) fn warn_before_fetch(&self) {
        if self.endpoint == TokenEndpoint::Token {
            console::warning(format_args!(
                "fetching from /cgi-bin/token ends the access token that other processes use for this app; \
                 {TOKEN_ENDPOINT}=stable_token would not"
            ));
        }
    }
}

/// The AppID: from the flag, else from the environment.
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
    let Some(wanted) = environment::value(TOKEN_ENDPOINT, usage) else {
        return Some(TokenEndpoint::StableToken);
    };
    let found = endpoints.into_iter().find(|endpoint| endpoint.as_str() == wanted);
    if found.is_none() {
        usage.add(TOKEN_ENDPOINT, "must be stable_token or token");
    }
    found
}

/// Where Weixin's API is: one host, or several separated by commas.
fn bases(usage: &mut UsageErrors) -> Option<BaseUrls> {
    let texts = environment::value(API_BASE, usage).unwrap_or_else(|| BaseUrl::API.to_owned());
    let insists = allows_http(usage)?;
    let read: Vec<_> =
        texts.split(',').map(|text| read_base(API_BASE, text.trim(), insists, usage)).collect();
    let read: Option<Vec<_>> = read.into_iter().collect();
    usage.collect(API_BASE, BaseUrls::new(read?))
}

/// Where a server is. Plain HTTP is for this very machine, or for those who insist.
pub(crate) fn base(variable: &'static str, default: &str, usage: &mut UsageErrors) -> Option<BaseUrl> {
    let text = environment::value(variable, usage).unwrap_or_else(|| default.to_owned());
    let insists = allows_http(usage)?;
    read_base(variable, &text, insists, usage)
}

fn read_base(variable: &'static str, text: &str, insists: bool, usage: &mut UsageErrors) -> Option<BaseUrl> {
    match BaseUrl::new(text) {
        Err(invalid) if invalid.rule() == &ValidationErrorKind::InsecureScheme && insists => {
            console::warning(format_args!(
                "{variable} is plain http:// to another machine ({ALLOW_HTTP}=1): secrets travel in the open"
            ));
            usage.collect(variable, BaseUrl::insecure(text))
        }
        read => usage.collect(variable, read),
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
