use std::fmt;
use std::sync::Arc;

use arc_swap::Guard;
use async_trait::async_trait;
use wxsub_proto::AppId;

use super::{CachedToken, Evidence, Generation, TokenError};
use crate::clock::ClockReading;

/// A borrow of the current token: no lock, no allocation, no counter that threads would fight over. Short-lived.
pub struct CurrentToken {
    guard: Guard<Option<Arc<CachedToken>>>,
    usable: bool,
}

impl CurrentToken {
    /// What stands in the slot, if it can be used now.
    #[must_use]
    pub(crate) fn new(guard: Guard<Option<Arc<CachedToken>>>, now: ClockReading) -> Self {
        let usable = guard.as_ref().is_some_and(|issued| issued.is_valid(now));
        Self { guard, usable }
    }

    /// Of a token that is kept elsewhere: for token sources of your own.
    #[must_use]
    pub fn from_issued(issued: Option<Arc<CachedToken>>, now: ClockReading) -> Self {
        Self::new(Guard::from_inner(issued), now)
    }

    /// The token, if there is a usable one.
    #[must_use]
    pub fn issued(&self) -> Option<&CachedToken> {
        self.guard.as_deref().filter(|_| self.usable)
    }

    /// The token to keep, if there is a usable one.
    #[must_use]
    pub fn to_owned(&self) -> Option<Arc<CachedToken>> {
        self.guard.as_ref().filter(|_| self.usable).cloned()
    }
}

impl fmt::Debug for CurrentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.issued()).finish()
    }
}

/// Where a client gets its token: a [`TokenCache`](super::TokenCache), or whoever keeps it.
#[async_trait]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// The app whose token this is, for logs. `None` where the source does not know it.
    fn appid(&self) -> Option<&AppId> {
        None
    }

    /// The token to use right now, without waiting. Empty when there is none: then ask [`token`](Self::token).
    fn current(&self) -> CurrentToken;

    /// A usable token, waiting for it if there is none.
    ///
    /// # Errors
    /// [`TokenError`] if an attempt to get one failed, or has failed and the next is not due yet.
    ///
    /// # Cancel safety
    /// A caller that gives up cancels nothing and strands nobody: the attempt goes on for the others.
    async fn token(&self) -> Result<Arc<CachedToken>, TokenError>;

    /// Another token than this one, which no longer works.
    ///
    /// # Errors
    /// [`TokenError`] if no other could be had, or the ration of refreshes is used up.
    ///
    /// # Cancel safety
    /// As [`token`](Self::token).
    async fn refresh(&self, failed: Generation, evidence: Evidence) -> Result<Arc<CachedToken>, TokenError>;
}
