//! What has been handed out: the digests of the last tokens, and who has which.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_core::clock::{Moment, Mono};
use wxsub_core::token::{Generation, Issued};
use wxsub_proto::AccessToken;

use super::Vouched;
use crate::ration::Rations;

/// How many generations are known: the current one and the two before it.
const KNOWN: usize = 3;

/// Outlives a reload of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: Mutex<VecDeque<Known>>,
    handed: Mutex<HashMap<String, Handed>>,
    rations: Mutex<Rations>,
}

struct Known {
    digest: [u8; 32],
    generation: Generation,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({})", self.generation)
    }
}

/// What a client was handed last.
#[derive(Debug, Clone, Copy)]
struct Handed {
    generation: Generation,
    vouched_until: Mono,
}

impl Memory {
    /// This token may be seen again.
    pub(super) fn remember(&self, issued: &Issued) {
        let mut known = locked(&self.known);
        if known.front().is_some_and(|newest| newest.generation >= issued.generation()) {
            return;
        }
        let digest = Sha256::digest(issued.token().expose()).into();
        known.push_front(Known { digest, generation: issued.generation() });
        known.truncate(KNOWN);
    }

    /// Which token this is.
    pub(super) fn generation_of(&self, token: &AccessToken) -> Option<Generation> {
        let digest: [u8; 32] = Sha256::digest(token.expose()).into();
        let known = locked(&self.known);
        known.iter().fold(None, |found, known| {
            if known.digest.ct_eq(&digest).into() { Some(known.generation) } else { found }
        })
    }

    /// This client gets this token.
    pub(crate) fn hand(&self, client: &str, vouched: &Vouched, now: Moment) {
        let handed = Handed {
            generation: vouched.issued.generation(),
            vouched_until: now.mono.after(vouched.expires_in),
        };
        locked(&self.handed).insert(client.to_owned(), handed);
    }

    /// Which token this client was handed last.
    pub(crate) fn handed(&self, client: &str) -> Option<Generation> {
        locked(&self.handed).get(client).map(|handed| handed.generation)
    }

    /// Whether this client was handed this token and need not ask again yet.
    pub(crate) fn need_not_ask(&self, client: &str, generation: Generation, now: Moment) -> bool {
        let handed = locked(&self.handed).get(client).copied();
        handed.is_some_and(|handed| handed.generation == generation && now.mono < handed.vouched_until)
    }

    pub(super) fn rations<T>(&self, work: impl FnOnce(&mut Rations) -> T) -> T {
        work(&mut locked(&self.rations))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Held for plain assignments only, so a panic elsewhere leaves nothing half-made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
