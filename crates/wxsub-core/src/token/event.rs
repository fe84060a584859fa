use std::sync::Arc;

use super::{Failure, Generation, Issued};
use crate::clock::UnixMillis;

/// What the lifecycle is told.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum Event {
    /// Time has passed; spurious ones are harmless.
    Timer,
    /// Somebody needs a token and sees none.
    Wanted,
    /// Somebody says that a token no longer works.
    Reported {
        /// Which token.
        generation: Generation,
        /// How they know.
        evidence: Evidence,
    },
    /// The attempt of this number has come to its end.
    Finished {
        /// The number from the [`Order`](super::Order).
        attempt: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// The store holds this token; another process may have fetched it.
    Loaded {
        /// The token.
        issued: Arc<Issued>,
        /// Since when it may be dying, as in [`Outcome::Adopted`].
        lost_since: Option<UnixMillis>,
    },
    /// The store had fallen behind, and has been given the token held.
    Published {
        /// Which.
        generation: Generation,
        /// What it held until then.
        replaced: Generation,
    },
}

/// How somebody knows that a token no longer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third kind of evidence")]
pub enum Evidence {
    /// Weixin answered a call of our own with 40001, 40014 or 42001. The token is not handed out again.
    Seen,
    /// Somebody else says so. A rationed refresh starts; everybody keeps the token until its replacement is held.
    Claimed,
}

/// What came of an attempt to get a token.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "the complete input alphabet of the state machine")]
pub enum Outcome {
    /// Weixin issued this token to us.
    Issued(Arc<Issued>),
    /// Weixin issued this token to us while the store did not answer: others may have fetched at the same time.
    IssuedAlone(Arc<Issued>),
    /// The store held a newer one.
    Adopted {
        /// The token.
        issued: Arc<Issued>,
        /// Since when it may be dying: an attempt since then, by whomever, may have been applied though its reply was lost.
        lost_since: Option<UnixMillis>,
        /// Whether Weixin had issued one to us too, which came too late. Nobody knows which of the two works.
        raced: bool,
    },
    /// Somebody else holds the lease and is fetching.
    Elsewhere,
    /// The store does not answer, and the order does not allow to fetch alone.
    StoreAway,
    /// No token.
    Failed(Failure),
}
