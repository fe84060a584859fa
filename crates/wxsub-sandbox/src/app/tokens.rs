//! The tokens of one kind, classic or stable, that were issued to one app.

use std::time::Duration;

use super::AppSettings;
use crate::token_generator::TokenGenerator;

/// How long an expired token is remembered. After that it gets the same error as a token that was never issued.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// One issued token. It has no `Debug`, because it contains the token text.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) number: u64,
    pub(crate) text: String,
    /// When its own lifetime ends.
    expires_at: Duration,
    /// When it becomes invalid because newer tokens were issued.
    superseded_at: Duration,
}

/// Whether a token is valid, and why not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenValidity {
    /// The token works.
    Valid,
    /// Its lifetime has ended.
    Expired,
    /// A newer token replaced it before its lifetime ended.
    Superseded,
}

impl Token {
    pub(crate) fn validity(&self, now: Duration) -> TokenValidity {
        if now < self.expires_at.min(self.superseded_at) {
            TokenValidity::Valid
        } else if self.superseded_at < self.expires_at {
            TokenValidity::Superseded
        } else {
            TokenValidity::Expired
        }
    }

    /// Whether it expires after `time`.
    pub(super) fn expires_after(&self, time: Duration) -> bool {
        time < self.expires_at
    }

    /// The remaining lifetime in whole seconds, at least 1.
    pub(crate) fn expires_in(&self, now: Duration) -> u64 {
        self.expires_at.saturating_sub(now).as_secs().max(1)
    }
}

/// The tokens of one kind, oldest first. The last one is current.
#[derive(Default)]
pub(crate) struct IssuedTokens(Vec<Token>);

impl IssuedTokens {
    /// Issues a new token. The previous token stays valid for the overlap; older ones become invalid now.
    pub(super) fn issue(
        &mut self,
        tokens: &mut TokenGenerator,
        now: Duration,
        settings: &AppSettings,
    ) -> Token {
        self.0.retain(|token| now < token.expires_at + RETENTION);
        let mut valid_until = now + settings.overlap;
        for token in self.0.iter_mut().rev() {
            token.superseded_at = token.superseded_at.min(valid_until);
            valid_until = now;
        }
        let (number, text) = tokens.generate(settings.token_length);
        let token =
            Token { number, text, expires_at: now + settings.token_lifetime, superseded_at: Duration::MAX };
        self.0.push(token.clone());
        token
    }

    pub(super) fn current(&self) -> Option<&Token> {
        self.0.last()
    }

    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        self.0.iter().rev().find(|token| token.text == text)
    }

    pub(super) fn expire_all(&mut self, now: Duration) {
        for token in &mut self.0 {
            token.superseded_at = token.superseded_at.min(now);
        }
    }
}
