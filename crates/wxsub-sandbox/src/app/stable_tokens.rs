//! Stable tokens: every caller gets the same token until it is due or a caller forces a new one.

use std::time::Duration;

use wxsub_proto::ErrCode;

use super::quota::{FixedWindow, beijing_day_index};
use super::{AppSettings, IssuedTokens, Token};
use crate::token_generator::TokenGenerator;

const MAX_FORCED_PER_DAY: u64 = 20;
const MIN_FORCED_INTERVAL: Duration = Duration::from_secs(30);

/// The stable tokens of one app, and how often a caller forced a new one.
#[derive(Default)]
pub(super) struct StableTokens {
    issued: IssuedTokens,
    last_forced: Option<Duration>,
    forced_today: FixedWindow,
}

impl StableTokens {
    /// Returns the current token, or issues a new one if it is due or forced.
    ///
    /// A forced token follows the rule of [`IssuedTokens::issue`]. The previous token keeps its overlap; a second forced
    /// token invalidates it at once.
    pub(super) fn get_or_issue(
        &mut self,
        tokens: &mut TokenGenerator,
        now: Duration,
        settings: &AppSettings,
        force: bool,
    ) -> Result<Token, ErrCode> {
        let is_too_soon = self.last_forced.is_some_and(|at| now < at + MIN_FORCED_INTERVAL);
        if force && !is_too_soon {
            if !self.forced_today.try_acquire(beijing_day_index(now), MAX_FORCED_PER_DAY) {
                return Err(ErrCode::DAILY_QUOTA);
            }
            self.last_forced = Some(now);
            return Ok(self.issued.issue(tokens, now, settings));
        }
        let renew_before = settings.overlap.min(settings.token_lifetime / 2);
        match self.issued.current() {
            Some(token) if token.expires_after(now + renew_before) => Ok(token.clone()),
            _ => Ok(self.issued.issue(tokens, now, settings)),
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        self.issued.find(text)
    }

    pub(super) fn issued_mut(&mut self) -> &mut IssuedTokens {
        &mut self.issued
    }
}
