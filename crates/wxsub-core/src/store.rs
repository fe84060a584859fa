//! The store of token records, which several processes can share.

mod change_log;
mod error;
mod upstream_id;

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use parking_lot::Mutex;
use tokio::sync::watch;
use wxsub_proto::{AccessToken, AppId};

pub(crate) use self::change_log::MAX_SILENT_READ_FAILURES;
pub use self::change_log::{ChangeLog, ChangeWatcher, LoggedChanges, StoreChange};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::upstream_id::{OwnUpstream, UpstreamId};
use crate::clock::{Clock, ClockReading, MonotonicInstant, SystemClock, UnixMillis};
use crate::token::{CachedToken, ForceRefreshLog, Generation};

/// Keeps one [`TokenRecord`] per app for several processes.
///
/// The lease saves calls to Weixin. The generation guarantees correctness: an older token never replaces a newer
/// one, whatever happens to a lease. So a lease may end early, but never blocks peers: it is short, its holder
/// renews it, and one that lasts longer than [`MAX_LEASE`] counts as free.
///
/// Every method has its own deadline. An error means "not done, or unknown". The token cache then serves its
/// current token. It fetches without the store only shortly before that token expires, after Weixin rejected it, or
/// whenever a refresh is due with `stable_token`.
#[async_trait]
#[auto_impl(Arc)]
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// Reads the record of this app. It is empty if there is none. A record that is broken has no token: see
    /// [`TokenRecord::broken`].
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read, or if a peer can read the record and this process cannot. The
    /// caller must then neither take the lease nor write the record.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError>;

    /// Waits until the record may have changed after the change with the mark `seen`. The token cache then reads the
    /// record, and at no other time without a reason of its own. 0 is the mark before all changes.
    ///
    /// A store that peers share must return within seconds after a peer changed the token or the in-doubt marker, and
    /// after changes may have been missed: a [`ChangeWatcher`] does. It may return without a change. A store of one
    /// process waits forever.
    ///
    /// # Cancel safety
    /// Changes nothing. An unseen change is returned to the next caller.
    async fn wait_for_change(&self, _app: &AppId, _seen: u64) -> StoreChange {
        pending().await
    }

    /// Writes the token if the stored generation is `replaces` and lower than the new one. It then clears the
    /// in-doubt marker, unless the token [keeps it](StoredToken::keeps_marker). Otherwise it changes nothing and returns
    /// the record.
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown whether the token was stored.
    ///
    /// # Cancel safety
    /// The token may or may not have been stored. The write is atomic.
    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError>;

    /// Acquires the lease for `length`, unless another holder has it. For its holder, the lease then ends `length`
    /// from now, sooner or later than before. Another holder's lease counts as free if it has no end, or if more
    /// than [`MAX_LEASE`] of it is left.
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown whether the lease was acquired. The token cache treats it as not acquired.
    ///
    /// # Cancel safety
    /// The lease may or may not have been acquired. It expires by itself.
    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError>;

    /// Releases the lease if this holder has it.
    ///
    /// # Errors
    /// [`StoreError`] if the store is unavailable. The lease then expires by itself.
    ///
    /// # Cancel safety
    /// The lease may or may not have been released. It expires by itself.
    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError>;

    /// Records that a fetch begins which may invalidate the stored token. The first marker stays until a token is
    /// stored or the marker is [cleared](Self::clear_in_doubt).
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown whether the marker was set.
    ///
    /// # Cancel safety
    /// The marker may or may not have been set.
    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError>;

    /// Clears the marker with time `since`, because that fetch certainly invalidated nothing. A marker with another
    /// time stays.
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown whether the marker was cleared.
    ///
    /// # Cancel safety
    /// The marker may or may not have been cleared.
    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError>;

    /// Takes a permit for a forced refresh from the [limit](crate::token::ForceRefreshLog) of this app. Returns
    /// `false` if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown. Treat it as `false`.
    ///
    /// # Cancel safety
    /// A permit may or may not have been taken.
    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError>;
}

/// Keeps the last token that this process served, for a start while its [`TokenStore`] fails.
#[async_trait]
#[auto_impl(Arc)]
pub trait TokenFallback: Send + Sync + fmt::Debug {
    /// Keeps a token. Does not wait.
    fn save(&self, app: &AppId, token: StoredToken);

    /// Waits until all [saved](Self::save) tokens are kept, or failed to be.
    ///
    /// # Cancel safety
    /// Tokens may be lost.
    async fn finish(&self);

    /// Reads the last token of this app.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn load(&self, app: &AppId) -> Option<StoredToken>;
}

/// The longest lease that any version takes. The store's own clock measures it.
pub const MAX_LEASE: Duration = Duration::from_secs(30);

/// The outcome of [`TokenStore::acquire_lease`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a lease is free or held")]
pub enum LeaseOutcome {
    /// The caller has the lease.
    Acquired,
    /// Another holder has it. Contains the name of that holder.
    HeldBy(String),
}

/// The outcome of [`TokenStore::compare_and_set`].
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "compare-and-set has these two ends")]
pub enum CasOutcome {
    /// The token is stored.
    Stored,
    /// The stored generation is not the expected one, or not lower than the new one. Contains the record.
    Conflict(TokenRecord),
}

/// What a store keeps for one app.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The newest token.
    pub token: Option<StoredToken>,
    /// The generation of a token that is in the record and cannot be used. A new token must be newer.
    pub unusable_generation: Generation,
    /// Why the record has no token although one was stored: the record is broken, and the next lease holder
    /// replaces it.
    pub broken: Option<StoreError>,
    /// The token is from the other endpoint of this upstream, and is valid. Set by
    /// [`of_upstream`](Self::of_upstream).
    pub other_endpoint: Option<StoreError>,
    /// Since when the token is in doubt, because a fetch may have taken effect although its response was lost.
    pub in_doubt_since: Option<UnixMillis>,
    /// The times of forced refreshes.
    pub forced: ForceRefreshLog,
}

impl TokenRecord {
    /// Returns the generation of the stored token. Zero if there is none.
    pub fn generation(&self) -> Generation {
        self.token.as_ref().map_or(self.unusable_generation, |stored| stored.generation)
    }

    /// Returns the record as a process with this upstream may use it. A token of another upstream that has expired
    /// counts as none. A token of the other endpoint is used.
    ///
    /// # Errors
    /// [`StoreErrorKind::OtherUpstream`] if the token belongs to another upstream and has not expired.
    pub fn of_upstream(mut self, own: Option<&OwnUpstream>, now: ClockReading) -> Result<Self, StoreError> {
        let Some(stored) = &self.token else { return Ok(self) };
        let (Some(other), Some(own)) = (stored.upstream, own) else { return Ok(self) };
        if other == own.id {
            return Ok(self);
        }
        let detail = format!("it has the upstream {other}, and this server has {}", own.id);
        if !stored.to_cached(now).is_valid(now) {
            self.unusable_generation = stored.generation;
            self.token = None;
        } else if other == own.with_other_endpoint {
            self.other_endpoint = Some(StoreError::new(StoreErrorKind::OtherEndpoint, detail));
        } else {
            return Err(StoreError::new(StoreErrorKind::OtherUpstream, detail));
        }
        Ok(self)
    }
}

/// A token as it is stored, with times on the wall clock. A store keeps them unchanged;
/// [`to_cached`](Self::to_cached) checks them.
#[derive(Debug, Clone, getset::WithSetters)]
#[non_exhaustive]
pub struct StoredToken {
    /// The token.
    pub token: AccessToken,
    /// Its generation.
    pub generation: Generation,
    /// When it was requested.
    pub requested_at: UnixMillis,
    /// The time from request to expiry.
    pub lifetime: Duration,
    /// The upstream that issued it. `None` if it is not recorded.
    #[getset(set_with = "pub")]
    pub upstream: Option<UpstreamId>,
    /// Whether writing it leaves the in-doubt marker, because the marker is of another fetch. Not stored.
    pub keeps_marker: bool,
}

impl StoredToken {
    /// Creates a stored token.
    pub fn new(
        token: AccessToken,
        generation: Generation,
        requested_at: UnixMillis,
        lifetime: Duration,
    ) -> Self {
        Self { token, generation, requested_at, lifetime, upstream: None, keeps_marker: false }
    }

    /// Makes its write leave the in-doubt marker: no fetch has just returned this token.
    #[must_use]
    pub fn keeping_marker(self) -> Self {
        Self { keeps_marker: true, ..self }
    }

    /// Returns the token with the next generation after this one.
    pub(crate) fn raised_above(&self, generation: Generation) -> Self {
        Self { generation: generation.next(UnixMillis::default()), ..self.clone() }
    }

    /// Returns the token with checked times: its lifetime is at most two hours, and a token requested in the future
    /// has an [unknown age](CachedToken::has_known_age).
    pub fn to_cached(&self, now: ClockReading) -> CachedToken {
        CachedToken::from_shared_store(
            self.token.clone(),
            self.generation,
            self.requested_at,
            self.lifetime,
            now,
        )
    }
}

impl From<&CachedToken> for StoredToken {
    fn from(token: &CachedToken) -> Self {
        Self::new(token.token().clone(), token.generation(), token.requested_at(), token.lifetime())
    }
}

/// A store in the memory of this process. A token cache uses it by default.
#[derive(derive_more::Debug)]
#[debug("MemoryStore({} apps)", entries.lock().len())]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<AppId, Entry>>,
    /// The position of the last change.
    last_change: AtomicU64,
    is_private: bool,
}

#[derive(Default)]
struct Entry {
    record: TokenRecord,
    lease: Option<(String, MonotonicInstant)>,
    /// The position of the last change of token or marker.
    changed: watch::Sender<u64>,
}

impl MemoryStore {
    /// Creates an empty store on the system clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// Creates an empty store whose leases use this clock.
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            entries: Mutex::default(),
            last_change: AtomicU64::default(),
            is_private: false,
        }
    }

    /// Creates an empty store for one process. It records no upstream, so the process may change its own.
    pub fn private(clock: impl Clock + 'static) -> Self {
        Self { is_private: true, ..Self::with_clock(clock) }
    }

    fn with<T>(&self, app: &AppId, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.entries.lock().entry(app.clone()).or_default())
    }

    /// Announces a change of this entry.
    fn announce(&self, entry: &Entry) {
        entry.changed.send_replace(self.last_change.fetch_add(1, Ordering::Relaxed) + 1);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// The log is never lost. It has one epoch.
#[async_trait]
impl ChangeLog for MemoryStore {
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError> {
        let positions = |(app, entry): (&AppId, &Entry)| (app.clone(), *entry.changed.borrow());
        let mut changes: Vec<_> =
            self.entries.lock().iter().map(positions).filter(|(_, at)| *at >= from.max(1)).collect();
        changes.sort_by_key(|(_, at)| *at);
        Ok(LoggedChanges { changes, ..LoggedChanges::default() })
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        Ok(self.entries.lock().get(app).map(|entry| entry.record.clone()).unwrap_or_default())
    }

    async fn wait_for_change(&self, app: &AppId, seen: u64) -> StoreChange {
        let mut changed = self.with(app, |entry| entry.changed.subscribe());
        // The sender lives as long as the store.
        let mark = changed.wait_for(|changed| *changed != seen).await.map_or(seen, |changed| *changed);
        StoreChange { mark, failure: None }
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
            self.announce(entry);
            let upstream = token.upstream.filter(|_| !self.is_private);
            entry.record.in_doubt_since.take_if(|_| !token.keeps_marker);
            entry.record.token = Some(StoredToken { upstream, keeps_marker: false, ..token });
            CasOutcome::Stored
        }))
    }

    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let now = self.clock.now().mono;
        Ok(self.with(app, |entry| {
            let is_held = |until: &MonotonicInstant| *until > now && until.duration_since(now) <= MAX_LEASE;
            match &entry.lease {
                Some((other, until)) if other != holder && is_held(until) => {
                    LeaseOutcome::HeldBy(other.clone())
                }
                _ => {
                    entry.lease = Some((holder.to_owned(), now + length));
                    LeaseOutcome::Acquired
                }
            }
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
            self.announce(entry);
        });
        Ok(())
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.with(app, |entry| {
            if entry.record.in_doubt_since.take_if(|mark| *mark == since).is_some() {
                self.announce(entry);
            }
        });
        Ok(())
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.with(app, |entry| entry.record.forced.try_acquire(now)))
    }
}
