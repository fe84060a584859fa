//! The tokens of one kind that were issued to one app.

use std::time::Duration;

use super::AppSettings;
use crate::mint::Mint;

/// How long a dead token is still known as dead, before its text is as good as any.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// One issued token. No `Debug`: it holds the text.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) number: u64,
    pub(crate) text: String,
    /// When its own life ends.
    ends: Duration,
    /// When it stops being good because others were issued after it.
    superseded: Duration,
}

/// What a token is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It works.
    Good,
    /// Its own life is over.
    Expired,
    /// It was replaced before its life was over.
    NotLatest,
}

impl Token {
    pub(crate) fn standing(&self, now: Duration) -> Standing {
        if now < self.ends.min(self.superseded) {
            Standing::Good
        } else if self.superseded < self.ends {
            Standing::NotLatest
        } else {
            Standing::Expired
        }
    }

    /// Whether it lives for more than this.
    pub(super) fn outlives(&self, time: Duration) -> bool {
        time < self.ends
    }

    /// The rest of its life in whole seconds, at least one.
    pub(crate) fn expires_in(&self, now: Duration) -> u64 {
        self.ends.saturating_sub(now).as_secs().max(1)
    }
}

/// The tokens of one kind, oldest first; the last is the current one.
#[derive(Default)]
pub(crate) struct Shelf(Vec<Token>);

impl Shelf {
    /// A new token. The one before it stays good for the overlap, older ones end now.
    pub(super) fn issue(&mut self, mint: &mut Mint, now: Duration, settings: &AppSettings) -> Token {
        self.0.retain(|token| now < token.ends + REMEMBERED);
        let mut good_until = now + settings.overlap;
        for token in self.0.iter_mut().rev() {
            token.superseded = token.superseded.min(good_until);
            good_until = now;
        }
        let (number, text) = mint.token(settings.token_length);
        let token = Token { number, text, ends: now + settings.token_life, superseded: Duration::MAX };
        self.0.push(token.clone());
        token
    }

    pub(super) fn current(&self) -> Option<&Token> {
        self.0.last()
    }

    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        self.0.iter().rev().find(|token| token.text == text)
    }

    pub(super) fn end_all(&mut self, now: Duration) {
        for token in &mut self.0 {
            token.superseded = token.superseded.min(now);
        }
    }
}
