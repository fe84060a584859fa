use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Fingerprint, Generation};

/// Who is told.
pub(crate) type Observer = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Something an operator wants to know. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A new token is held.
    Refreshed {
        /// Which.
        generation: Generation,
        /// Its digest.
        fingerprint: Fingerprint,
        /// How long it lives.
        life: Duration,
        /// Whether it came from the store, fetched by another process.
        adopted: bool,
    },
    /// An attempt failed; another follows.
    FetchFailed {
        /// Why.
        failure: Failure,
        /// When the next one follows.
        retry_in: Duration,
        /// What is left of the token still served; zero if there is none.
        remaining: Duration,
        /// Whether it passes in silence: it is tried again at once, and no caller has been told.
        quiet: bool,
    },
    /// The reply to an attempt was lost, though Weixin may have issued a token: the one held may die before its time.
    AnswerLost {
        /// The token held.
        generation: Generation,
    },
    /// Weixin rejected the token held.
    Rejected {
        /// Which.
        generation: Generation,
        /// What was left of its life.
        remaining: Duration,
    },
    /// The token died long before its time and nothing of our own explains it: somebody else fetches tokens for this app.
    Stolen {
        /// Which.
        generation: Generation,
        /// What was left of its life.
        remaining: Duration,
    },
}
