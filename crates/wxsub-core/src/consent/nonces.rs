use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::clock::{Clock, SystemClock, UnixMillis};

/// The number that identifies one consent request until it expires.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Debug, getset::CopyGetters, getset::Getters)]
#[debug("Nonce({:08x})", u128::from_be_bytes(*bytes) >> 96)]
pub struct Nonce {
    /// The random bytes, for example as a key in a table that several servers share.
    #[getset(get = "pub")]
    bytes: [u8; 16],
    /// When the request expires. Later, no callback with this nonce is accepted, so a table can forget it.
    #[getset(get_copy = "pub")]
    expires: UnixMillis,
}

impl Nonce {
    /// Creates a nonce that a table has stored, or one for a consent that was verified in another way.
    #[must_use]
    pub fn from_parts(bytes: [u8; 16], expires: UnixMillis) -> Self {
        Self { bytes, expires }
    }
}

/// The store failed, and it is unknown whether the nonce was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the nonce store failed: {0}; refuse the callback, and ask the user again")]
pub struct NonceStoreError(String);

impl NonceStoreError {
    /// Creates an error. `detail` must not contain a secret.
    pub fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }
}

/// Remembers which nonces were used, so that a callback is accepted once. Several servers need a store that they share.
///
/// An application that stores its grants with `wxsub-outbox` needs none: the ledger uses the nonce up in the transaction that
/// records the grant.
#[async_trait]
pub trait NonceStore: Send + Sync + fmt::Debug {
    /// Records the nonce. Returns whether this is its first use.
    ///
    /// # Errors
    /// [`NonceStoreError`] if it is unknown whether the nonce was used. Refuse the callback.
    ///
    /// # Cancel safety
    /// The nonce may or may not have been recorded.
    async fn insert_if_new(&self, nonce: &Nonce) -> Result<bool, NonceStoreError>;
}

#[derive(Default)]
struct Used {
    until: HashMap<[u8; 16], UnixMillis>,
    /// At this size expired entries are removed. The size is then twice what is left.
    purge_at: usize,
}

/// Remembers used nonces until they expire, for one process. Several servers need a shared table.
#[derive(derive_more::Debug)]
#[debug("InMemoryNonceStore")]
pub struct InMemoryNonceStore {
    used: Mutex<Used>,
    clock: Arc<dyn Clock>,
}

impl InMemoryNonceStore {
    /// Maximum number of remembered nonces. Beyond it a new nonce is an error, so that no second use passes.
    pub const MAX_ENTRIES: usize = 1_000_000;

    /// Creates an empty store on the system clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// Creates an empty store on this clock.
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self { used: Mutex::default(), clock: Arc::new(clock) }
    }
}

#[async_trait]
impl NonceStore for InMemoryNonceStore {
    async fn insert_if_new(&self, nonce: &Nonce) -> Result<bool, NonceStoreError> {
        let now = self.clock.now().wall;
        let mut used = self.used.lock();
        if used.until.len() >= used.purge_at {
            used.until.retain(|_, expires| *expires > now);
            used.purge_at = (used.until.len() * 2).clamp(1024, Self::MAX_ENTRIES);
        }
        if nonce.expires <= now || used.until.contains_key(&nonce.bytes) {
            return Ok(false);
        }
        if used.until.len() >= Self::MAX_ENTRIES {
            return Err(NonceStoreError::new(format!("it holds {} nonces, its limit", Self::MAX_ENTRIES)));
        }
        used.until.insert(nonce.bytes, nonce.expires);
        Ok(true)
    }
}

impl Default for InMemoryNonceStore {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::testing::ManualClock;

    /// The time that a manual clock shows first.
    const START: u64 = 1_780_000_000_000;

    fn first_use(nonces: &InMemoryNonceStore, nonce: &Nonce) -> bool {
        nonces.insert_if_new(nonce).now_or_never().unwrap().unwrap()
    }

    /// A nonce that expires this many milliseconds after the start.
    fn nonce(number: u64, expires: u64) -> Nonce {
        Nonce::from_parts(u128::from(number).to_be_bytes(), UnixMillis::new(START + expires))
    }

    #[test]
    fn expired_nonces_are_removed() {
        let clock = Arc::new(ManualClock::new());
        let nonces = InMemoryNonceStore::with_clock(clock.clone());
        let remembered = || nonces.used.lock().until.len();
        assert!((0..512).all(|number| first_use(&nonces, &nonce(number, 1_000))));
        assert!((0..512).all(|number| !first_use(&nonces, &nonce(number, 1_000))));
        assert!((512..1024).all(|number| first_use(&nonces, &nonce(number, 1_000))));
        // All nonces expire now.
        clock.advance(Duration::from_secs(1));
        assert!(first_use(&nonces, &nonce(2_000, 9_000)));
        assert_eq!(remembered(), 1);
        // None of these expires, so the next removal is at twice their number.
        assert!((3_000..4_100).all(|number| first_use(&nonces, &nonce(number, 9_000))));
        clock.advance(Duration::from_secs(8));
        assert!((5_000..5_800).all(|number| first_use(&nonces, &nonce(number, 10_000))));
        assert_eq!(remembered(), 1_101 + 800);
    }

    #[test]
    fn full_store_refuses_new_nonces() {
        let nonces = InMemoryNonceStore::with_clock(Arc::new(ManualClock::new()));
        let all_but_one = (1..InMemoryNonceStore::MAX_ENTRIES as u128)
            .map(|number| (number.to_be_bytes(), UnixMillis::new(START + 9)));
        nonces.used.lock().until.extend(all_but_one);
        assert!(first_use(&nonces, &nonce(0, 9)));
        let refused = nonces.insert_if_new(&nonce(2_000_000, 9)).now_or_never().unwrap().unwrap_err();
        assert!(refused.to_string().contains("it holds 1000000 nonces, its limit"), "{refused}");
        assert!(!first_use(&nonces, &nonce(0, 9)));
    }

    #[test]
    fn nonce_has_bytes_and_expiry() {
        let nonce = nonce(7, 9_000);
        assert_eq!((nonce.bytes()[15], nonce.expires().get()), (7, START + 9_000));
        assert_eq!(format!("{nonce:?}"), "Nonce(00000000)");
    }
}
