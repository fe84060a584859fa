//! One app: its credentials, settings, tokens and quota usage.

mod quota;
mod settings;
mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use wxsub_proto::{AppSecret, ErrCode, TemplateId};

pub use settings::AppSettings;
pub(crate) use tokens::{Token, TokenGenerator, TokenValidity};

use crate::api_error::ApiError;
use quota::{FixedWindow, beijing_day_index, minute_index};
use tokens::{IssuedTokens, StableTokens};

/// One app: its secret, templates, settings, tokens of both kinds, and quota usage.
pub(crate) struct App {
    secret: AppSecret,
    templates: BTreeSet<TemplateId>,
    pub(crate) settings: AppSettings,
    classic: IssuedTokens,
    stable: StableTokens,
    usage: HashMap<&'static str, EndpointUsage>,
}

/// How many calls of one endpoint there were, for the quotas.
#[derive(Default)]
struct EndpointUsage {
    this_minute: FixedWindow,
    today: FixedWindow,
}

impl App {
    pub(crate) fn new(secret: AppSecret, templates: BTreeSet<TemplateId>, settings: AppSettings) -> Self {
        let (classic, stable, usage) = Default::default();
        Self { secret, templates, settings, classic, stable, usage }
    }

    /// Replaces secret, templates and settings. Tokens and quota usage stay.
    pub(crate) fn update(
        &mut self,
        secret: AppSecret,
        templates: BTreeSet<TemplateId>,
        settings: AppSettings,
    ) {
        self.secret = secret;
        self.templates = templates;
        self.settings = settings;
    }

    pub(crate) fn secret(&self) -> &AppSecret {
        &self.secret
    }

    pub(crate) fn templates(&self) -> impl Iterator<Item = &TemplateId> {
        self.templates.iter()
    }

    pub(crate) fn has_template(&self, template: &TemplateId) -> bool {
        self.templates.contains(template)
    }

    /// Checks the AppSecret. Weixin does not document which of several errors it reports; here a wrong secret comes first.
    pub(crate) fn check_secret(&self, secret: &str) -> Result<(), ErrCode> {
        if self.secret.expose_secret() != secret {
            return Err(ErrCode::INVALID_APPSECRET);
        }
        match self.settings.frozen {
            true => Err(ErrCode::SECRET_FROZEN),
            false => Ok(()),
        }
    }

    /// Checks the address against the allow-list, if there is one.
    pub(crate) fn check_ip(&self, client_ip: IpAddr) -> Result<(), ApiError> {
        let is_caller = |ip: &IpAddr| ip.to_canonical() == client_ip.to_canonical();
        match &self.settings.allowed_ips {
            Some(allowed) if !allowed.iter().any(is_caller) => Err(ApiError::ip_not_allowed(client_ip)),
            _ => Ok(()),
        }
    }

    /// Counts one call of this endpoint against the limits per minute and per day.
    pub(crate) fn check_quota(
        &mut self,
        path: &'static str,
        now: Duration,
        per_minute: Option<u64>,
        per_day: u64,
    ) -> Result<(), ErrCode> {
        let usage = self.usage.entry(path).or_default();
        if !usage.this_minute.try_acquire(minute_index(now), per_minute.unwrap_or(u64::MAX)) {
            return Err(ErrCode::MINUTE_QUOTA);
        }
        match usage.today.try_acquire(beijing_day_index(now), per_day) {
            true => Ok(()),
            false => Err(ErrCode::DAILY_QUOTA),
        }
    }

    /// The number of calls of this endpoint that counted today.
    pub(crate) fn used_today(&self, path: &str, now: Duration) -> u64 {
        self.usage.get(path).map_or(0, |usage| usage.today.used(beijing_day_index(now)))
    }

    /// Issues a new classic token.
    pub(crate) fn issue_token(&mut self, tokens: &mut TokenGenerator, now: Duration) -> Token {
        self.classic.issue(tokens, now, &self.settings)
    }

    /// Returns the current stable token, or issues a new one if it is due or forced.
    pub(crate) fn stable_token(
        &mut self,
        tokens: &mut TokenGenerator,
        now: Duration,
        force: bool,
    ) -> Result<Token, ErrCode> {
        self.stable.get_or_issue(tokens, now, &self.settings, force)
    }

    /// Invalidates all tokens of both kinds, as if another client had fetched new ones and the overlap had passed.
    pub(crate) fn invalidate_all_tokens(&mut self, tokens: &mut TokenGenerator, now: Duration) {
        for issued in [&mut self.classic, self.stable.issued_mut()] {
            issued.expire_all(now);
            issued.issue(tokens, now, &self.settings);
        }
    }

    /// Finds the token with this text among those issued to this app.
    pub(crate) fn find_token(&self, text: &str) -> Option<&Token> {
        self.classic.find(text).or_else(|| self.stable.find(text))
    }
}
