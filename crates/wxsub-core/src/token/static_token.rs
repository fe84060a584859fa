use std::sync::Arc;

use async_trait::async_trait;
use wxsub_proto::AccessToken;
use wxsub_proto::endpoint::token::MAX_LIFETIME;

use super::{CachedToken, CurrentToken, Evidence, Generation, TokenError, TokenErrorKind, TokenSource};
use crate::clock::{Clock, SystemClock};

/// A token that is set once, for scripts and tests. It is used for at most two hours and never refreshed.
#[derive(Debug)]
pub struct StaticToken {
    token: Arc<CachedToken>,
    clock: SystemClock,
}

impl StaticToken {
    /// Creates a source of this token, as if it was requested now.
    #[must_use]
    pub fn new(token: AccessToken) -> Self {
        let clock = SystemClock::new();
        let now = clock.now();
        Self {
            token: Arc::new(CachedToken::new(token, Generation::default().next(now.wall), now, MAX_LIFETIME)),
            clock,
        }
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    fn current(&self) -> CurrentToken {
        CurrentToken::new(Some(Arc::clone(&self.token)), self.clock.now())
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        self.current().to_owned().ok_or_else(|| TokenError::new(TokenErrorKind::NotRefreshable, None))
    }

    async fn refresh(
        &self,
        _generation: Generation,
        _evidence: Evidence,
    ) -> Result<Arc<CachedToken>, TokenError> {
        Err(TokenError::new(TokenErrorKind::NotRefreshable, None))
    }
}
