use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use wxsub_proto::AppId;

use super::{CasOutcome, StoreError, StoredToken, TokenRecord, TokenStore};
use crate::clock::{Clock, MonotonicInstant, SystemClock, UnixMillis};
use crate::token::Generation;

/// A store in the memory of this process. A token cache uses it by default.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<AppId, Entry>>,
}

#[derive(Default)]
struct Entry {
    record: TokenRecord,
    lease: Option<(String, MonotonicInstant)>,
    /// The stored generation, for callers that wait for a newer one.
    newest: watch::Sender<Generation>,
}

impl MemoryStore {
    /// Creates an empty store on the system clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// Creates an empty store whose leases use this clock.
    #[must_use]
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), entries: Mutex::new(HashMap::new()) }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<AppId, Entry>> {
        // The lock is held for assignments only, so a panic leaves no incomplete record.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, app: &AppId, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.entries().entry(app.clone()).or_default())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} apps)", self.entries().len())
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        Ok(self.entries().get(app).map(|entry| entry.record.clone()).unwrap_or_default())
    }

    async fn wait_for_change(&self, app: &AppId, known: Generation) -> Generation {
        let mut newest = self.with(app, |entry| entry.newest.subscribe());
        let newer = newest.wait_for(|newest| *newest > known).await.map(|newer| *newer);
        // The sender lives as long as the store.
        newer.unwrap_or(known)
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        Ok(self.with(app, |entry| {
            let stored = entry.record.generation();
            if stored != replaces || token.generation <= stored {
                return CasOutcome::Conflict(entry.record.clone());
            }
            entry.newest.send_replace(token.generation);
            entry.record.token = Some(token);
            entry.record.in_doubt_since = None;
            CasOutcome::Stored
        }))
    }

    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now().mono;
        Ok(self.with(app, |entry| {
            let taken = entry.lease.as_ref().is_some_and(|(other, until)| other != holder && *until > now);
            if !taken {
                entry.lease = Some((holder.to_owned(), now + length));
            }
            !taken
        }))
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.with(app, |entry| {
            entry.lease.take_if(|(owner, _)| owner == holder);
        });
        Ok(())
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.with(app, |entry| {
            entry.record.in_doubt_since.get_or_insert(since);
        });
        Ok(())
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.with(app, |entry| {
            entry.record.in_doubt_since.take_if(|mark| *mark == since);
        });
        Ok(())
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.with(app, |entry| entry.record.forced.try_acquire(now)))
    }
}
