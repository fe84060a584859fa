//! What has been handed out: the digests of the last tokens, and who has which.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_core::clock::{ClockReading, MonotonicInstant};
use wxsub_core::token::{CachedToken, Generation};
use wxsub_proto::AccessToken;

use super::ServedToken;
use crate::rate_limit::ReportLimiter;

/// How many generations are known: the current one and the two before it.
const HISTORY_LEN: usize = 3;

/// Outlives a reload of the configuration.
#[derive(Debug, Default)]
pub(crate) struct TokenHistory {
    known: Mutex<VecDeque<KnownToken>>,
    handed: Mutex<HashMap<String, LastServed>>,
    rations: Mutex<ReportLimiter>,
}

struct KnownToken {
    digest: [u8; 32],
    generation: Generation,
}

impl std::fmt::Debug for KnownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({})", self.generation)
    }
}

/// What a client was handed last.
#[derive(Debug, Clone, Copy)]
struct LastServed {
    generation: Generation,
    vouched_until: MonotonicInstant,
}

impl TokenHistory {
    /// This token may be seen again.
    pub(super) fn remember(&self, issued: &CachedToken) {
        let mut known = locked(&self.known);
        if known.front().is_some_and(|newest| newest.generation >= issued.generation()) {
            return;
        }
        let digest = Sha256::digest(issued.token().expose_secret()).into();
        known.push_front(KnownToken { digest, generation: issued.generation() });
        known.truncate(HISTORY_LEN);
    }

    /// Which token this is.
    pub(super) fn generation_of(&self, token: &AccessToken) -> Option<Generation> {
        let digest: [u8; 32] = Sha256::digest(token.expose_secret()).into();
        let known = locked(&self.known);
        known.iter().fold(None, |found, known| {
            if known.digest.ct_eq(&digest).into() { Some(known.generation) } else { found }
        })
    }

    /// This client gets this token.
    pub(crate) fn record_served(&self, client: &str, vouched: &ServedToken, now: ClockReading) {
        let handed = LastServed {
            generation: vouched.issued.generation(),
            vouched_until: now.mono.after(vouched.expires_in),
        };
        locked(&self.handed).insert(client.to_owned(), handed);
    }

    /// Which token this client was handed last.
    pub(crate) fn last_served(&self, client: &str) -> Option<Generation> {
        locked(&self.handed).get(client).map(|handed| handed.generation)
    }

    /// Whether this client was handed this token and need not ask again yet.
    pub(crate) fn within_ttl(&self, client: &str, generation: Generation, now: ClockReading) -> bool {
        let handed = locked(&self.handed).get(client).copied();
        handed.is_some_and(|handed| handed.generation == generation && now.mono < handed.vouched_until)
    }

    pub(super) fn rations<T>(&self, work: impl FnOnce(&mut ReportLimiter) -> T) -> T {
        work(&mut locked(&self.rations))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Held for plain assignments only, so a panic elsewhere leaves nothing half-made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
