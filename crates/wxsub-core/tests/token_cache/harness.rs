//! Token caches on a manual clock, with a scripted Weixin and a store with faults.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{
    CasOutcome, ChangeLog, ChangeWatcher, LeaseOutcome, LoggedChanges, MemoryStore, StoreChange, StoreError,
    StoreErrorKind, StoredToken, TokenFallback, TokenRecord, TokenStore,
};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    CachedToken, Evidence, Generation, TokenCache, TokenCacheBuilder, TokenEndpoint, TokenError, TokenEvent,
    TokenOrigin, TokenSource,
};

pub(super) use wxsub_core::proto::endpoint::{stable_token::PATH as STABLE, token::PATH as TOKEN};

pub(super) fn app() -> AppId {
    "wx1".parse().unwrap()
}

pub(super) fn token(text: &str) -> MockResponse {
    MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#))
}

pub(super) fn refusal(errcode: i64) -> MockResponse {
    MockResponse::json(&format!(r#"{{"errcode":{errcode},"errmsg":"no: SECRET, ip 192.0.2.7"}}"#))
}

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) struct Bench {
    pub(super) clock: Arc<ManualClock>,
    pub(super) weixin: MockTransport,
    pub(super) store: Arc<FaultyStore>,
    pub(super) events: Arc<Mutex<Vec<TokenEvent>>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(FaultyStore::new(&clock));
        Self { clock, weixin: MockTransport::new(), store, events: Arc::default() }
    }

    /// Tokens that Weixin issues, one for each fetch.
    pub(super) fn issuing(texts: &[&str]) -> Self {
        let bench = Self::new();
        texts.iter().for_each(|text| bench.weixin.respond_once(TOKEN, token(text)));
        bench
    }

    /// Weixin issues token A, and then always gives this response.
    pub(super) fn issuing_a_then(response: MockResponse) -> Self {
        let bench = Self::issuing(&["A"]);
        bench.weixin.respond_always(TOKEN, response);
        bench
    }

    /// Any fetch, from either endpoint, gets this response.
    pub(super) fn always(response: MockResponse) -> Self {
        let bench = Self::new();
        bench.weixin.respond_always(TOKEN, response.clone());
        bench.weixin.respond_always(STABLE, response);
        bench
    }

    /// A cache with a store of its own.
    pub(super) fn builder(&self) -> TokenCacheBuilder {
        let events = Arc::clone(&self.events);
        TokenCache::builder("wx1", "SECRET", self.weixin.clone())
            .clock(self.clock.clone())
            .on_event(move |event| events.lock().unwrap().push(event.clone()))
            .jitter_seed(7)
    }

    /// A cache with a store of its own.
    pub(super) fn own_cache(&self) -> TokenCache {
        self.builder().build().unwrap()
    }

    /// A cache with the shared store.
    pub(super) fn cache(&self, seed: u64) -> TokenCache {
        self.cache_of(TokenEndpoint::Token, seed)
    }

    pub(super) fn cache_of(&self, endpoint: TokenEndpoint, seed: u64) -> TokenCache {
        self.cache_with(endpoint, seed, self.store.clone())
    }

    pub(super) fn cache_with(
        &self,
        endpoint: TokenEndpoint,
        seed: u64,
        store: impl TokenStore + 'static,
    ) -> TokenCache {
        let builder = self.builder().store(store).fallback(self.store.clone()).endpoint(endpoint);
        builder.jitter_seed(seed).build().unwrap()
    }

    pub(super) fn fetches(&self) -> usize {
        self.weixin.count(TOKEN) + self.weixin.count(STABLE)
    }

    pub(super) async fn advance(&self, n: u64) {
        self.clock.advance_and_run(seconds(n)).await;
    }

    pub(super) async fn record(&self) -> TokenRecord {
        TokenStore::load(&*self.store, &app()).await.unwrap()
    }

    /// A peer begins a fetch now.
    pub(super) async fn set_in_doubt(&self) -> UnixMillis {
        let since = self.clock.now().wall;
        self.store.set_in_doubt(&app(), since).await.unwrap();
        since
    }

    pub(super) fn origins(&self) -> Vec<TokenOrigin> {
        let events = self.events.lock().unwrap();
        let origin = |event: &TokenEvent| match event {
            TokenEvent::Refreshed { origin, .. } => Some(*origin),
            _ => None,
        };
        events.iter().filter_map(origin).collect()
    }
}

/// The token that a caller gets.
pub(super) async fn text(cache: &TokenCache) -> String {
    cache.token().await.unwrap().token().expose_secret().to_owned()
}

/// The token that a caller gets without waiting.
pub(super) fn served(cache: &TokenCache) -> String {
    cache.current().get().unwrap().token().expose_secret().to_owned()
}

/// The cache with its first token, and the generation of that token.
pub(super) async fn with_token(cache: TokenCache) -> (TokenCache, Generation) {
    let first = cache.token().await.unwrap().generation();
    (cache, first)
}

/// A caller that waits for a token in a task of its own.
pub(super) fn caller(cache: &TokenCache) -> JoinHandle<Result<Arc<CachedToken>, TokenError>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.token().await })
}

/// A caller that reports this generation in a task of its own.
pub(super) fn reporter(
    cache: &TokenCache,
    generation: Generation,
    evidence: Evidence,
) -> JoinHandle<Result<Arc<CachedToken>, TokenError>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.refresh(generation, evidence).await })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Operations fail, but the fallback record is available.
    Unavailable,
    /// The record cannot be read, for example because another key encrypted it. Everything else works.
    Unreadable,
    /// The same, from the first lease on.
    UnreadableUnderLease,
    /// A peer stores its token after the first read, before the lease is taken.
    PeerStoresBeforeLease,
    /// The machine is suspended for this time right after the next lease is acquired.
    SuspendUnderLease(Duration),
    /// The record is broken, until a token is stored.
    BrokenRecord,
    /// Operations never end.
    Hang,
    /// Before each write, a peer stores its own token, with this lifetime.
    PeerWritesFirst(Duration),
    /// During the next write, a peer fetches and stores a token, under the lowest generation.
    PeerFetchesFirst,
    /// The next write fails.
    FailNextWrite,
    /// The response to a write comes a second after its notification.
    SlowWrites,
    /// It accepts no token.
    RejectWrites,
}

/// A store with faults. It counts reads and writes.
#[derive(Debug)]
pub(super) struct FaultyStore {
    store: Mutex<Arc<MemoryStore>>,
    /// The store whose change log is read.
    log: Mutex<Arc<MemoryStore>>,
    /// How often the records were lost.
    losses: AtomicUsize,
    pub(super) watcher: ChangeWatcher,
    /// How often the change log was read.
    pub(super) log_reads: AtomicUsize,
    fault: Mutex<Fault>,
    clock: Arc<ManualClock>,
    /// How long the next lease takes.
    pub(super) lease_duration: Mutex<Duration>,
    /// How often a lease was acquired.
    pub(super) leases: AtomicUsize,
    reads: AtomicUsize,
    pub(super) writes: AtomicUsize,
}

impl FaultyStore {
    fn new(clock: &Arc<ManualClock>) -> Self {
        Self::sharing(clock, Arc::new(MemoryStore::with_clock(clock.clone())))
    }

    /// Another link to the same store.
    pub(super) fn sharing(clock: &Arc<ManualClock>, store: Arc<MemoryStore>) -> Self {
        Self {
            store: Mutex::new(Arc::clone(&store)),
            log: Mutex::new(store),
            losses: AtomicUsize::default(),
            watcher: ChangeWatcher::new(clock.clone()),
            log_reads: AtomicUsize::default(),
            fault: Mutex::new(Fault::None),
            clock: clock.clone(),
            lease_duration: Mutex::default(),
            leases: AtomicUsize::default(),
            reads: AtomicUsize::default(),
            writes: AtomicUsize::default(),
        }
    }

    pub(super) fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store.lock().unwrap())
    }

    /// The store, unless it is unavailable.
    async fn available(&self) -> Result<Arc<MemoryStore>, StoreError> {
        match self.fault() {
            Fault::Unavailable => Err(StoreError::new(StoreErrorKind::Unreachable, "unavailable")),
            Fault::Hang => pending().await,
            _ => Ok(self.store()),
        }
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// A peer stores token PEER under this generation.
    pub(super) async fn store_peer_token(
        &self,
        replaces: Generation,
        generation: Generation,
        requested_at: UnixMillis,
    ) {
        let peer_token = StoredToken::new("PEER".parse().unwrap(), generation, requested_at, seconds(7200));
        self.store().compare_and_set(&app(), replaces, peer_token).await.unwrap();
    }

    /// Loses all records. The log does not show it.
    pub(super) fn lose_records_silently(&self) {
        *self.store.lock().unwrap() = Arc::new(MemoryStore::with_clock(self.clock.clone()));
    }

    /// Loses records and log.
    pub(super) fn lose_records(&self) {
        self.lose_records_silently();
        *self.log.lock().unwrap() = self.store();
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl ChangeLog for FaultyStore {
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError> {
        self.log_reads.fetch_add(1, Ordering::Relaxed);
        let epoch = self.losses.load(Ordering::Relaxed).to_string();
        self.available().await?;
        let log = Arc::clone(&self.log.lock().unwrap());
        Ok(LoggedChanges { epoch, ..log.read_changes(from).await? })
    }
}

/// The fallback has what the store has, also while the store fails.
#[async_trait]
impl TokenFallback for FaultyStore {
    fn save(&self, _: &AppId, _: StoredToken) {}

    async fn finish(&self) {}

    async fn load(&self, app: &AppId) -> Option<StoredToken> {
        self.store().load(app).await.ok()?.token
    }
}

#[async_trait]
impl TokenStore for FaultyStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let store = self.available().await?;
        let mut record = store.load(app).await?;
        let is_leased = self.leases.load(Ordering::Relaxed) > 0;
        match (self.fault(), &record.token) {
            (Fault::UnreadableUnderLease, _) if !is_leased => {}
            (Fault::Unreadable | Fault::UnreadableUnderLease, _) => {
                return Err(StoreError::new(StoreErrorKind::EncryptionKey, "cannot decrypt the token"));
            }
            (Fault::BrokenRecord, Some(stored)) => {
                record.unusable_generation = stored.generation;
                record.token = None;
                record.broken = Some(StoreError::new(StoreErrorKind::BrokenRecord, "field token is missing"));
            }
            _ => {}
        }
        Ok(record)
    }

    async fn wait_for_change(&self, app: &AppId, seen: u64) -> StoreChange {
        self.watcher.wait_for_change(self, app, seen).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let store = self.available().await?;
        match self.fault() {
            Fault::PeerWritesFirst(lifetime) => {
                let next = Generation::new(token.generation.get() + 1);
                let peer_token =
                    StoredToken::new("PEER".parse().unwrap(), next, token.requested_at, lifetime);
                store.compare_and_set(app, replaces, peer_token).await?;
            }
            Fault::PeerFetchesFirst => {
                self.set_fault(Fault::None);
                self.clock.advance(Duration::from_secs(10));
                let generation = Generation::new(replaces.get() + 1);
                self.store_peer_token(replaces, generation, self.clock.now().wall).await;
            }
            Fault::FailNextWrite => {
                self.set_fault(Fault::None);
                return Err(StoreError::new(StoreErrorKind::Unreachable, "no response"));
            }
            Fault::SlowWrites => {
                let written = store.compare_and_set(app, replaces, token).await;
                self.watcher.notify(app);
                self.clock.sleep_until(self.clock.now().mono + seconds(1)).await;
                return written;
            }
            Fault::BrokenRecord => self.set_fault(Fault::None),
            Fault::RejectWrites => return Ok(CasOutcome::Conflict(store.load(app).await?)),
            _ => {}
        }
        store.compare_and_set(app, replaces, token).await
    }

    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        if self.fault() == Fault::PeerStoresBeforeLease {
            self.set_fault(Fault::None);
            let now = self.clock.now().wall;
            self.store_peer_token(Generation::default(), Generation::new(now.get()), now).await;
        }
        let acquired = self.available().await?.acquire_lease(app, holder, length).await;
        if matches!(acquired, Ok(LeaseOutcome::Acquired)) {
            self.leases.fetch_add(1, Ordering::Relaxed);
        }
        let duration = std::mem::take(&mut *self.lease_duration.lock().unwrap());
        self.clock.advance(duration);
        if let Fault::SuspendUnderLease(time) = self.fault() {
            self.set_fault(Fault::None);
            self.clock.set_forward(time);
        }
        acquired
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.available().await?.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.available().await?.set_in_doubt(app, since).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.available().await?.clear_in_doubt(app, since).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.available().await?.try_acquire_force_refresh(app, now).await
    }
}
