//! One app: its credentials, settings, tokens and quota usage.

mod quota;
mod settings;
mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use wxsub_proto::{AppSecret, ErrCode, TemplateId};

pub use settings::AppSettings;
pub(crate) use tokens::{Token, TokenGenerator, TokenKind, TokenValidity};

use crate::api_error::ApiError;
use quota::{FixedWindow, beijing_day_index, minute_index};
use tokens::{IssuedTokens, StableTokens};

/// One app: its secret, templates, settings, tokens of both kinds, and quota usage.
pub(crate) struct App {
    pub(crate) secret: AppSecret,
    pub(crate) templates: BTreeSet<TemplateId>,
    pub(crate) settings: AppSettings,
    classic: IssuedTokens,
    pub(crate) stable: StableTokens,
    usage: HashMap<&'static str, EndpointUsage>,
}

/// The limits of one endpoint.
#[derive(Clone, Copy)]
pub(crate) struct CallLimits {
    /// `None`: no limit.
    pub(crate) per_minute: Option<u64>,
    pub(crate) per_day: u64,
}

/// How many calls of one endpoint there were, for the quotas.
#[derive(Clone, Copy, Default)]
struct EndpointUsage {
    this_minute: FixedWindow,
    today: FixedWindow,
}

impl EndpointUsage {
    /// Counts one call against the limits per minute and per day.
    fn count(&mut self, now: Duration, limits: CallLimits) -> Result<(), ErrCode> {
        if !self.this_minute.try_acquire(minute_index(now), limits.per_minute.unwrap_or(u64::MAX)) {
            return Err(ErrCode::MINUTE_QUOTA);
        }
        match self.today.try_acquire(beijing_day_index(now), limits.per_day) {
            true => Ok(()),
            false => Err(ErrCode::DAILY_QUOTA),
        }
    }
}

impl App {
    /// An app with the tokens and the quota usage of the one that it replaces, if any.
    pub(crate) fn new(
        secret: AppSecret,
        templates: BTreeSet<TemplateId>,
        settings: AppSettings,
        replaced: Option<Self>,
    ) -> Self {
        let kept = replaced.map(|app| (app.classic, app.stable, app.usage));
        let (classic, stable, usage) = kept.unwrap_or_default();
        Self { secret, templates, settings, classic, stable, usage }
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

    /// Checks whether one more call of this endpoint is within the limits.
    pub(crate) fn check_quota(&self, path: &str, now: Duration, limits: CallLimits) -> Result<(), ErrCode> {
        self.usage.get(path).copied().unwrap_or_default().count(now, limits)
    }

    /// Counts one call of this endpoint, unless it exceeds the limits.
    pub(crate) fn count_call(&mut self, path: &'static str, now: Duration, limits: CallLimits) {
        let _exceeded = self.usage.entry(path).or_default().count(now, limits);
    }

    /// The number of calls of this endpoint that counted today.
    pub(crate) fn used_today(&self, path: &str, now: Duration) -> u64 {
        self.usage.get(path).map_or(0, |usage| usage.today.used(beijing_day_index(now)))
    }

    /// Adds a newly issued token. The previous token of its kind stays valid for the overlap.
    pub(crate) fn add_token(&mut self, token: Token, kind: TokenKind, now: Duration) {
        let overlap = self.settings.overlap;
        match kind {
            TokenKind::Classic => self.classic.add(token, now, overlap),
            TokenKind::Stable { forced } => self.stable.add(token, now, overlap, forced),
        }
    }

    /// Invalidates all tokens of both kinds, as if another client had fetched new ones and the overlap had passed.
    pub(crate) fn invalidate_all_tokens(&mut self, tokens: &mut TokenGenerator, now: Duration) {
        for issued in [&mut self.classic, &mut self.stable.issued] {
            issued.expire_all(now);
            let token = Token::new(tokens, now, &self.settings);
            tokens.advance_to(token.number);
            issued.add(token, now, self.settings.overlap);
        }
    }

    /// Finds the token with this text among those issued to this app.
    pub(crate) fn find_token(&self, text: &str) -> Option<&Token> {
        self.classic.find(text).or_else(|| self.stable.issued.find(text))
    }
}
