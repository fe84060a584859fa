use std::fmt;
use std::sync::Arc;

use arc_swap::Guard;
use async_trait::async_trait;
use auto_impl::auto_impl;
use wxsub_proto::AppId;

use super::{CachedToken, Evidence, Generation, TokenError};
use crate::clock::ClockReading;

/// A borrow of the current token, without lock or allocation. Keep it for a short time only.
#[derive(derive_more::Debug)]
#[debug("CurrentToken({:?})", self.get())]
pub struct CurrentToken {
    guard: Guard<Option<Arc<CachedToken>>>,
    is_valid: bool,
}

impl CurrentToken {
    /// Borrows this token if it is valid now. For your own token sources.
    pub fn new(token: Option<Arc<CachedToken>>, now: ClockReading) -> Self {
        Self::from_guard(Guard::from_inner(token), now)
    }

    /// Borrows the token if it is valid now.
    pub(super) fn from_guard(guard: Guard<Option<Arc<CachedToken>>>, now: ClockReading) -> Self {
        let is_valid = guard.as_ref().is_some_and(|token| token.is_valid(now));
        Self { guard, is_valid }
    }

    /// Returns the token if it is valid.
    pub fn get(&self) -> Option<&CachedToken> {
        self.guard.as_deref().filter(|_| self.is_valid)
    }

    /// Returns an owned handle to the token if it is valid.
    pub fn to_owned(&self) -> Option<Arc<CachedToken>> {
        self.guard.as_ref().filter(|_| self.is_valid).cloned()
    }
}

/// The source of a client's token: a [`TokenCache`](super::TokenCache), or your own.
#[async_trait]
#[auto_impl(Arc)]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// Returns the app of the token, for logs. `None` if the source does not know it.
    fn appid(&self) -> Option<&AppId> {
        None
    }

    /// Returns the current token without waiting. It is empty if there is none; then call [`token`](Self::token).
    fn current(&self) -> CurrentToken;

    /// Returns a valid token. Waits for the running attempt if there is none.
    ///
    /// # Errors
    /// [`TokenError`] if the attempt failed, or an earlier one failed and the next is not due yet.
    ///
    /// # Cancel safety
    /// Cancel safe: the attempt continues for other callers.
    async fn token(&self) -> Result<Arc<CachedToken>, TokenError>;

    /// Returns another token than the one of this generation, which no longer works. The first poll reports that to the
    /// source; a caller that needs no token does not poll again.
    ///
    /// # Errors
    /// [`TokenError`] if the attempt failed, or the rate limit for refreshes is reached.
    ///
    /// # Cancel safety
    /// As [`token`](Self::token).
    async fn refresh(
        &self,
        generation: Generation,
        evidence: Evidence,
    ) -> Result<Arc<CachedToken>, TokenError>;
}
