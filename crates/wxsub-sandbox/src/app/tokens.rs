//! The tokens of one app: classic and stable.

use std::time::Duration;

use wxsub_proto::ErrCode;

use super::quota::{FixedWindow, beijing_day_index};
use super::settings::AppSettings;

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

/// The kind of a newly issued token.
#[derive(Clone, Copy)]
pub(crate) enum TokenKind {
    /// From `/cgi-bin/token`.
    Classic,
    /// From `/cgi-bin/stable_token`.
    Stable {
        /// Whether a caller forced it.
        forced: bool,
    },
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
    /// The next token of the generator. It is not yet issued.
    pub(crate) fn new(tokens: &TokenGenerator, now: Duration, settings: &AppSettings) -> Self {
        let (number, text) = tokens.next(settings.token_length);
        Self {
            number,
            text,
            expires_at: now.saturating_add(settings.token_lifetime),
            superseded_at: Duration::MAX,
        }
    }

    pub(crate) fn validity(&self, now: Duration) -> TokenValidity {
        if now < self.expires_at.min(self.superseded_at) {
            TokenValidity::Valid
        } else if self.superseded_at < self.expires_at {
            TokenValidity::Superseded
        } else {
            TokenValidity::Expired
        }
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
    /// Adds a new token. The previous token stays valid for the overlap; older ones become invalid now.
    pub(super) fn add(&mut self, token: Token, now: Duration, overlap: Duration) {
        self.0.retain(|token| now < token.expires_at.saturating_add(RETENTION));
        let mut valid_until = now.saturating_add(overlap);
        for token in self.0.iter_mut().rev() {
            token.superseded_at = token.superseded_at.min(valid_until);
            valid_until = now;
        }
        self.0.push(token);
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

const MAX_FORCED_PER_DAY: u64 = 20;
const MIN_FORCED_INTERVAL: Duration = Duration::from_secs(30);

/// The stable tokens of one app, and how often a caller forced a new one.
///
/// Every caller gets the same token until it is due or a caller forces a new one.
#[derive(Default)]
pub(crate) struct StableTokens {
    pub(super) issued: IssuedTokens,
    last_forced: Option<Duration>,
    forced_today: FixedWindow,
}

impl StableTokens {
    /// Returns the current token, or a new one and its kind if it is due or forced.
    pub(crate) fn current_or_new(
        &self,
        tokens: &TokenGenerator,
        now: Duration,
        settings: &AppSettings,
        force: bool,
    ) -> Result<(Token, Option<TokenKind>), ErrCode> {
        let new = |forced| (Token::new(tokens, now, settings), Some(TokenKind::Stable { forced }));
        let is_too_soon = self.last_forced.is_some_and(|at| now < at + MIN_FORCED_INTERVAL);
        if force && !is_too_soon {
            let mut forced_today = self.forced_today;
            return match forced_today.try_acquire(beijing_day_index(now), MAX_FORCED_PER_DAY) {
                true => Ok(new(true)),
                false => Err(ErrCode::DAILY_QUOTA),
            };
        }
        let renew_before = settings.overlap.min(settings.token_lifetime / 2);
        match self.issued.0.last() {
            Some(token) if now.saturating_add(renew_before) < token.expires_at => Ok((token.clone(), None)),
            _ => Ok(new(false)),
        }
    }

    /// Adds a new token.
    ///
    /// A forced token follows the rule of [`IssuedTokens::add`]. The previous token keeps its overlap; a second forced
    /// token invalidates it at once.
    pub(super) fn add(&mut self, token: Token, now: Duration, overlap: Duration, forced: bool) {
        if forced {
            self.forced_today.try_acquire(beijing_day_index(now), MAX_FORCED_PER_DAY);
            self.last_forced = Some(now);
        }
        self.issued.add(token, now, overlap);
    }
}

/// 64 visible characters that need no encoding in a query.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Generates access tokens with sequence numbers.
#[derive(Default)]
pub(crate) struct TokenGenerator(u64);

impl TokenGenerator {
    /// Returns the next sequence number and a token of this length.
    ///
    /// The number makes the token unique. The random part makes it unguessable.
    fn next(&self, length: usize) -> (u64, String) {
        let number = self.0 + 1;
        let mut text = format!("{number}_");
        // These are test tokens: if the random source fails, a token is still unique.
        let mut random = vec![0; length.saturating_sub(text.len())];
        let _ignored = getrandom::fill(&mut random);
        let character = |byte: u8| ALPHABET.get(usize::from(byte & 63)).copied().map(char::from);
        text.extend(random.into_iter().filter_map(character));
        (number, text)
    }

    /// Marks the numbers up to this one as used.
    pub(crate) fn advance_to(&mut self, number: u64) {
        self.0 = self.0.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_have_the_requested_length() {
        let mut generator = TokenGenerator::default();
        let (first, token) = generator.next(136);
        generator.advance_to(first);
        let (second, other) = generator.next(512);
        assert_eq!((first, token.len(), second, other.len()), (1, 136, 2, 512));
        assert_ne!(token.get(2..20), other.get(2..20));
        assert!(token.bytes().all(|b| ALPHABET.contains(&b)));
    }
}
