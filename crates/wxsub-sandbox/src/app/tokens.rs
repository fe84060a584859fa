//! The tokens of one kind that were issued to one app.

use std::time::Duration;

use super::AppSettings;
use crate::token_generator::TokenGenerator;

/// How long a dead token is still known as dead, before its text is as good as any.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// One issued token. No `Debug`: it holds the text.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) number: u64,
    pub(crate) text: String,
    /// When its own life expires_at.
    expires_at: Duration,
    /// When it stops being good because others were issued after it.
    superseded_at: Duration,
}

/// What a token is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenValidity {
    /// It works.
    Valid,
    /// Its own life is over.
    Expired,
    /// It was replaced before its life was over.
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

    /// Whether it lives for more than this.
    pub(super) fn expires_after(&self, time: Duration) -> bool {
        time < self.expires_at
    }

    /// The rest of its life in whole seconds, at least one.
    pub(crate) fn expires_in(&self, now: Duration) -> u64 {
        self.expires_at.saturating_sub(now).as_secs().max(1)
    }
}

/// The tokens of one kind, oldest first; the last is the current one.
#[derive(Default)]
pub(crate) struct IssuedTokens(Vec<Token>);

impl IssuedTokens {
    /// A new token. The one before it stays good for the overlap, older ones end now.
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
