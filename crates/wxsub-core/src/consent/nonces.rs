use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, SystemClock, UnixMillis};

/// Identifies one consent request until it expires.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce {
    bytes: [u8; 16],
    expires: UnixMillis,
}

impl Nonce {
    pub(super) fn new(bytes: [u8; 16], expires: UnixMillis) -> Self {
        Self { bytes, expires }
    }

    /// The random bytes: a key for a table of your own, shared by several servers.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// From when on it need not be remembered, because its answer is not trusted any more.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")?;
        self.bytes.iter().take(4).try_for_each(|byte| write!(f, "-{byte:02x}"))
    }
}

#[derive(Default)]
struct Used {
    until: HashMap<[u8; 16], UnixMillis>,
    /// Expired ones are thrown out at this size, which then doubles what is left: seldom, and never far too late.
    purge_at: usize,
}

/// Remembers used nonces until they expire: for one process. Several servers need a table they share.
pub struct InMemoryNonceStore {
    used: Mutex<Used>,
    clock: Arc<dyn Clock>,
}

impl InMemoryNonceStore {
    /// The most that are remembered at a time. Beyond it first uses are refused too, rather than a second one let through.
    pub const MAX_ENTRIES: usize = 1_000_000;

    /// Nothing used yet, on the real clock.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Arc::new(SystemClock::new()))
    }

    /// Nothing used yet, on this clock.
    #[must_use]
    pub fn on(clock: Arc<dyn Clock>) -> Self {
        Self { used: Mutex::default(), clock }
    }

    /// Whether this nonce comes for the first time. It is remembered from then on.
    #[must_use]
    pub fn insert_if_new(&self, nonce: &Nonce) -> bool {
        let now = self.clock.now().wall;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.until.len() >= used.purge_at {
            used.until.retain(|_, expires| *expires > now);
            used.purge_at = (used.until.len() * 2).clamp(1024, Self::MAX_ENTRIES);
        }
        let room = used.until.len() < Self::MAX_ENTRIES;
        room && nonce.expires > now && used.until.insert(nonce.bytes, nonce.expires).is_none()
    }
}

impl Default for InMemoryNonceStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryNonceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryNonces")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ClockReading;
    use crate::clock::MonotonicInstant;

    #[derive(Debug)]
    struct At(Mutex<UnixMillis>);

    #[async_trait::async_trait]
    impl Clock for At {
        fn now(&self) -> ClockReading {
            ClockReading::new(MonotonicInstant::default(), *self.0.lock().unwrap())
        }
        async fn sleep_until(&self, _: MonotonicInstant) {}
    }

    fn nonce(number: u64, expires: u64) -> Nonce {
        Nonce::new(u128::from(number).to_be_bytes(), UnixMillis::new(expires))
    }

    #[test]
    fn expired_ones_are_forgotten_seldom_and_not_too_late() {
        let clock = Arc::new(At(Mutex::new(UnixMillis::new(0))));
        let nonces = InMemoryNonceStore::on(clock.clone());
        let remembered = || nonces.used.lock().unwrap().until.len();
        assert!((0..512).all(|number| nonces.insert_if_new(&nonce(number, 1_000))));
        assert!((0..512).all(|number| !nonces.insert_if_new(&nonce(number, 1_000))));
        assert!((512..1024).all(|number| nonces.insert_if_new(&nonce(number, 1_000))));
        // They expire at this very moment.
        *clock.0.lock().unwrap() = UnixMillis::default().after(Duration::from_secs(1));
        assert!(nonces.insert_if_new(&nonce(2_000, 9_000)));
        assert_eq!(remembered(), 1);
        // None of these expires, so they are looked through again at twice their number.
        assert!((3_000..4_100).all(|number| nonces.insert_if_new(&nonce(number, 9_000))));
        *clock.0.lock().unwrap() = UnixMillis::new(9_000);
        assert!((5_000..5_800).all(|number| nonces.insert_if_new(&nonce(number, 10_000))));
        assert_eq!(remembered(), 1_101 + 800);
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let nonces = InMemoryNonceStore::on(Arc::new(At(Mutex::new(UnixMillis::new(0)))));
        let all_but_one = (1..InMemoryNonceStore::MAX_ENTRIES as u128)
            .map(|number| (number.to_be_bytes(), UnixMillis::new(9)));
        nonces.used.lock().unwrap().until.extend(all_but_one);
        assert!(nonces.insert_if_new(&nonce(0, 9)));
        assert!(!nonces.insert_if_new(&nonce(2_000_000, 9)) && !nonces.insert_if_new(&nonce(0, 9)));
    }

    #[test]
    fn a_nonce_shows_what_a_table_needs() {
        let nonce = nonce(7, 9_000);
        assert_eq!((nonce.bytes()[15], nonce.expires().get()), (7, 9_000));
        assert_eq!(format!("{nonce:?}"), "Nonce-00-00-00-00");
    }
}
