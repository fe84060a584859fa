use std::sync::Arc;

use async_trait::async_trait;
use wxsub_proto::AccessToken;
use wxsub_proto::endpoint::token::MAX_LIFE;

use super::{Current, Evidence, Failure, Generation, Issued, TokenError, TokenSource};
use crate::clock::{Clock, SystemClock};

/// A token given by hand: for scripts and tests. It is used for at most two hours and never refreshed.
#[derive(Debug)]
pub struct FixedToken {
    issued: Arc<Issued>,
    clock: SystemClock,
}

impl FixedToken {
    /// This token, as if it had been issued now.
    #[must_use]
    pub fn new(token: AccessToken) -> Self {
        let clock = SystemClock::new();
        let now = clock.now();
        Self {
            issued: Arc::new(Issued::new(token, Generation::default().next(now.wall), now, MAX_LIFE)),
            clock,
        }
    }
}

#[async_trait]
impl TokenSource for FixedToken {
    fn current(&self) -> Current {
        Current::from_issued(Some(Arc::clone(&self.issued)), self.clock.now())
    }

    async fn token(&self) -> Result<Arc<Issued>, TokenError> {
        self.current().to_owned().ok_or_else(|| TokenError::new(Failure::Fixed, None))
    }

    async fn refresh(&self, _failed: Generation, _evidence: Evidence) -> Result<Arc<Issued>, TokenError> {
        Err(TokenError::new(Failure::Fixed, None))
    }
}
