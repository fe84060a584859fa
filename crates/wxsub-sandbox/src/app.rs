//! One app as Weixin keeps it.

mod ration;
mod settings;
mod shelf;
mod stable;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use wxsub_proto::{AppSecret, ErrCode, TemplateId};

pub use settings::AppSettings;
use shelf::Shelf;
pub(crate) use shelf::{Standing, Token};

use crate::mint::Mint;
use crate::refused::Refused;
use ration::{Ration, beijing_day, minute};
use stable::StableShelf;

/// One app: its secret, templates and settings, its tokens of both kinds, and what it has used up.
pub(crate) struct App {
    secret: AppSecret,
    templates: BTreeSet<TemplateId>,
    pub(crate) settings: AppSettings,
    classic: Shelf,
    stable: StableShelf,
    used: HashMap<&'static str, Used>,
}

/// How often one endpoint was called.
#[derive(Default)]
struct Used {
    this_minute: Ration,
    today: Ration,
}

impl App {
    pub(crate) fn new(secret: AppSecret, templates: BTreeSet<TemplateId>, settings: AppSettings) -> Self {
        let (classic, stable, used) = Default::default();
        Self { secret, templates, settings, classic, stable, used }
    }

    /// Another secret, other templates and settings; tokens and what was used up stay.
    pub(crate) fn change(
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

    /// Whether the secret proves that the caller is this app. Which of several faults is told first is not documented.
    pub(crate) fn check_secret(&self, secret: &str) -> Result<(), ErrCode> {
        if self.secret.expose() != secret {
            return Err(ErrCode::INVALID_APPSECRET);
        }
        match self.settings.frozen {
            true => Err(ErrCode::SECRET_FROZEN),
            false => Ok(()),
        }
    }

    pub(crate) fn check_ip(&self, caller: IpAddr) -> Result<(), Refused> {
        let same = |ip: &IpAddr| ip.to_canonical() == caller.to_canonical();
        match &self.settings.allowed_ips {
            Some(allowed) if !allowed.iter().any(same) => Err(Refused::ip_not_allowed(caller)),
            _ => Ok(()),
        }
    }

    /// Takes one call of this endpoint from the limits.
    pub(crate) fn admit(
        &mut self,
        path: &'static str,
        now: Duration,
        a_minute: Option<u64>,
        a_day: u64,
    ) -> Result<(), ErrCode> {
        let used = self.used.entry(path).or_default();
        if !used.this_minute.take(minute(now), a_minute.unwrap_or(u64::MAX)) {
            return Err(ErrCode::MINUTE_QUOTA);
        }
        match used.today.take(beijing_day(now), a_day) {
            true => Ok(()),
            false => Err(ErrCode::DAILY_QUOTA),
        }
    }

    /// How many calls of this endpoint there were today.
    pub(crate) fn used_today(&self, path: &str, now: Duration) -> u64 {
        self.used.get(path).map_or(0, |used| used.today.used(beijing_day(now)))
    }

    /// A new classic token.
    pub(crate) fn fetch(&mut self, mint: &mut Mint, now: Duration) -> Token {
        self.classic.issue(mint, now, &self.settings)
    }

    /// The stable token, or a new one where it is due or forced.
    pub(crate) fn stable(&mut self, mint: &mut Mint, now: Duration, force: bool) -> Result<Token, ErrCode> {
        self.stable.token(mint, now, &self.settings, force)
    }

    /// A stranger fetched tokens of both kinds, and the overlaps are over.
    pub(crate) fn rob(&mut self, mint: &mut Mint, now: Duration) {
        for shelf in [&mut self.classic, self.stable.shelf()] {
            shelf.end_all(now);
            shelf.issue(mint, now, &self.settings);
        }
    }

    /// The token of this text, if it was issued to this app.
    pub(crate) fn find(&self, text: &str) -> Option<&Token> {
        self.classic.find(text).or_else(|| self.stable.find(text))
    }
}
