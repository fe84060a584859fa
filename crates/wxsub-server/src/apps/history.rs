//! The tokens that were served: digests of the latest ones, and which client got which.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_core::clock::{ClockReading, MonotonicInstant};
use wxsub_core::token::{CachedToken, Generation};
use wxsub_proto::AccessToken;

use super::report_limiter::ReportLimiter;
use crate::state::locked;

/// Number of known generations: the current one and the two before it.
const HISTORY_LEN: usize = 3;

/// A token for a client, and its ttl.
#[derive(Clone)]
pub(crate) struct ServedToken {
    pub(crate) cached: Arc<CachedToken>,
    pub(crate) expires_in: Duration,
}

/// The history of an app's tokens. It survives a reload of the configuration.
#[derive(Default)]
pub(crate) struct TokenHistory {
    known: Mutex<VecDeque<KnownToken>>,
    last_served: Mutex<HashMap<String, LastServed>>,
    limiter: Mutex<ReportLimiter>,
}

struct KnownToken {
    digest: TokenDigest,
    generation: Generation,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(token: &AccessToken) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }
}

/// The token that a client was served last.
#[derive(Debug, Clone, Copy)]
struct LastServed {
    generation: Generation,
    valid_until: MonotonicInstant,
}

impl TokenHistory {
    /// Records a token, so that [`generation_of`](Self::generation_of) finds it.
    pub(super) fn remember(&self, token: &CachedToken) {
        let mut known = locked(&self.known);
        if known.front().is_some_and(|newest| newest.generation >= token.generation()) {
            return;
        }
        let digest = TokenDigest::of(token.token());
        // Most apps have served one token. A queue begins with room for four.
        known.reserve_exact(1);
        known.push_front(KnownToken { digest, generation: token.generation() });
        known.truncate(HISTORY_LEN);
    }

    /// The generation of the token with this digest. The comparison takes constant time.
    pub(super) fn generation_of(&self, token: TokenDigest) -> Option<Generation> {
        let known = locked(&self.known);
        known.iter().fold(None, |found, known| {
            if known.digest.0.ct_eq(&token.0).into() { Some(known.generation) } else { found }
        })
    }

    /// Records that this client was served this token.
    pub(crate) fn record_served(&self, client: &str, served: &ServedToken, now: ClockReading) {
        let last_served =
            LastServed { generation: served.cached.generation(), valid_until: now.mono + served.expires_in };
        let mut clients = locked(&self.last_served);
        match clients.get_mut(client) {
            Some(known) => *known = last_served,
            None => {
                clients.insert(client.to_owned(), last_served);
            }
        }
    }

    /// The generation that this client was served last.
    pub(crate) fn last_served(&self, client: &str) -> Option<Generation> {
        locked(&self.last_served).get(client).map(|last_served| last_served.generation)
    }

    /// Whether this client was served this token, and its ttl is not over.
    pub(crate) fn within_ttl(&self, client: &str, generation: Generation, now: ClockReading) -> bool {
        let last_served = locked(&self.last_served).get(client).copied();
        last_served.is_some_and(|last_served| {
            last_served.generation == generation && now.mono < last_served.valid_until
        })
    }

    pub(super) fn with_limiter<T>(&self, work: impl FnOnce(&mut ReportLimiter) -> T) -> T {
        work(&mut locked(&self.limiter))
    }
}
