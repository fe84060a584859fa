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
pub struct CurrentToken(Guard<Option<Arc<CachedToken>>>);

impl CurrentToken {
    /// Borrows this token if it is valid now. For your own token sources.
    pub fn new(token: Option<Arc<CachedToken>>, now: ClockReading) -> Self {
        Self::from_guard(Guard::from_inner(token), now)
    }

    /// Borrows the token if it is valid now.
    pub(super) fn from_guard(guard: Guard<Option<Arc<CachedToken>>>, now: ClockReading) -> Self {
        match &*guard {
            Some(token) if token.is_valid(now) => Self(guard),
            _ => Self(Guard::from_inner(None)),
        }
    }

    /// Returns the token if it is valid.
    #[inline]
    pub fn get(&self) -> Option<&CachedToken> {
        self.0.as_deref()
    }

    /// Returns an owned handle to the token if it is valid.
    pub fn to_owned(&self) -> Option<Arc<CachedToken>> {
        Option::clone(&self.0)
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
