//! Token caches with a shared store: peers, leases, notifications, conflicting records, and a store that is unavailable,
//! slow, or has lost its records.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    Evidence, Generation, TokenCache, TokenEndpoint, TokenErrorKind, TokenEvent, TokenOrigin, TokenSource,
};

const TOKEN: &str = "/cgi-bin/token";
const STABLE: &str = "/cgi-bin/stable_token";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Operations fail, but the fallback record is available.
    Unavailable,
    /// A read never ends.
    Hang,
    /// Before each write, a peer stores its own token, with this lifetime.
    PeerWritesFirst(Duration),
    /// It accepts no token.
    RejectWrites,
    /// It notifies of a token that it does not have.
    FalseNotification,
}

/// A store with faults. It counts reads and writes.
#[derive(Debug)]
struct FaultyStore {
    store: Mutex<Arc<MemoryStore>>,
    fault: Mutex<Fault>,
    clock: Arc<ManualClock>,
    /// How long the next lease takes.
    lease_duration: Mutex<Duration>,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl FaultyStore {
    fn new(clock: &Arc<ManualClock>) -> Self {
        Self {
            store: Mutex::new(Arc::new(MemoryStore::with_clock(clock.clone()))),
            fault: Mutex::new(Fault::None),
            clock: clock.clone(),
            lease_duration: Mutex::default(),
            reads: AtomicUsize::default(),
            writes: AtomicUsize::default(),
        }
    }

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store.lock().unwrap())
    }

    /// The store, unless it is unavailable.
    fn available(&self) -> Result<Arc<MemoryStore>, StoreError> {
        match self.fault() {
            Fault::Unavailable => Err(StoreError::new("unavailable")),
            _ => Ok(self.store()),
        }
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn lose_records(&self) {
        *self.store.lock().unwrap() = Arc::new(MemoryStore::with_clock(self.clock.clone()));
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl TokenStore for FaultyStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.fault() {
            Fault::Hang => pending().await,
            _ => self.available()?.load(app).await,
        }
    }

    async fn load_fallback(&self, app: &AppId) -> Option<StoredToken> {
        self.store().load(app).await.ok()?.token
    }

    async fn wait_for_change(&self, _: &AppId, known: Generation) -> Generation {
        match self.fault() {
            Fault::FalseNotification if known < Generation::MAX => Generation::MAX,
            _ => pending().await,
        }
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let store = self.available()?;
        match self.fault() {
            Fault::PeerWritesFirst(lifetime) => {
                let next = Generation::new(token.generation.get() + 1);
                let peer_token =
                    StoredToken::new("PEER".parse().unwrap(), next, token.requested_at, lifetime);
                store.compare_and_set(app, replaces, peer_token).await?;
            }
            Fault::RejectWrites => return Ok(CasOutcome::Conflict(store.load(app).await?)),
            _ => {}
        }
        store.compare_and_set(app, replaces, token).await
    }

    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        let acquired = self.available()?.acquire_lease(app, holder, length).await;
        let duration = std::mem::take(&mut *self.lease_duration.lock().unwrap());
        self.clock.advance(duration);
        acquired
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.available()?.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.available()?.set_in_doubt(app, since).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.available()?.clear_in_doubt(app, since).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.available()?.try_acquire_force_refresh(app, now).await
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    store: Arc<FaultyStore>,
    events: Arc<Mutex<Vec<TokenEvent>>>,
}

fn app() -> AppId {
    "wx1".parse().unwrap()
}

fn token(text: &str) -> MockResponse {
    MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(FaultyStore::new(&clock));
        Self { clock, weixin: Arc::new(MockTransport::new()), store, events: Arc::default() }
    }

    /// Tokens that Weixin issues, one for each fetch.
    fn issuing(texts: &[&str]) -> Self {
        let bench = Self::new();
        texts.iter().for_each(|text| bench.weixin.respond_once(TOKEN, token(text)));
        bench
    }

    fn cache(&self, seed: u64) -> TokenCache {
        self.cache_of(TokenEndpoint::Token, seed)
    }

    fn cache_of(&self, endpoint: TokenEndpoint, seed: u64) -> TokenCache {
        self.cache_with(endpoint, seed, self.store.clone())
    }

    fn cache_with(&self, endpoint: TokenEndpoint, seed: u64, store: impl TokenStore + 'static) -> TokenCache {
        let events = Arc::clone(&self.events);
        TokenCache::builder(app(), "SECRET".parse().unwrap(), self.weixin.clone())
            .clock(self.clock.clone())
            .store(store)
            .endpoint(endpoint)
            .on_event(move |event| events.lock().unwrap().push(event.clone()))
            .jitter_seed(seed)
            .build()
    }

    fn fetches(&self) -> usize {
        self.weixin.count(TOKEN) + self.weixin.count(STABLE)
    }

    async fn advance(&self, n: u64) {
        self.clock.advance_and_run(seconds(n)).await;
    }

    fn origins(&self) -> Vec<TokenOrigin> {
        let events = self.events.lock().unwrap();
        let origin = |event: &TokenEvent| match event {
            TokenEvent::Refreshed { origin, .. } => Some(*origin),
            _ => None,
        };
        events.iter().filter_map(origin).collect()
    }
}

async fn text(cache: &TokenCache) -> String {
    cache.token().await.unwrap().token().expose_secret().to_owned()
}

/// Requests a token from each cache for the first time.
async fn request_first_tokens(bench: &Bench, caches: &[TokenCache]) {
    for cache in caches {
        let cache = cache.clone();
        tokio::spawn(async move { drop(cache.token().await) });
    }
    bench.advance(1).await;
}

#[tokio::test]
async fn caches_with_shared_store_fetch_once() {
    let bench = Bench::issuing(&["A"]);
    let caches: Vec<_> = (0..5).map(|_| bench.cache(7)).collect();
    let waiting: Vec<_> = caches
        .iter()
        .cloned()
        .map(|cache| {
            tokio::spawn(async move { cache.token().await.unwrap().token().expose_secret().to_owned() })
        })
        .collect();
    bench.advance(10).await;
    for task in waiting {
        assert_eq!(task.await.unwrap(), "A");
    }
    assert_eq!(bench.fetches(), 1);
    // A refresh of one cache reaches the others with the next read, within 2 s, and costs one fetch.
    bench.weixin.respond_always(TOKEN, token("B"));
    caches[0].refresh(caches[0].token().await.unwrap().generation(), Evidence::Reported).await.unwrap();
    bench.advance(3).await;
    for cache in &caches {
        assert_eq!(cache.current().get().unwrap().token().expose_secret(), "B");
    }
    assert_eq!(bench.fetches(), 2);
}

/// Two caches of one process are two lease holders.
#[tokio::test]
async fn lease_is_not_shared_between_caches() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let waiting = (0..2).map(|_| bench.cache(7));
    let waiting: Vec<_> = waiting.map(|cache| tokio::spawn(async move { cache.token().await })).collect();
    bench.advance(10).await;
    assert_eq!(bench.fetches(), 1);
    drop(waiting);
}

#[tokio::test]
async fn restart_reuses_stored_token_and_in_doubt_marker() {
    let bench = Bench::new();
    let (app, store) = (app(), bench.store.clone());
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.cache(7).token().await.unwrap();
    bench.advance(600).await;
    let restarted = bench.cache(7);
    let adopted = restarted.token().await.unwrap();
    assert_eq!((adopted.token().expose_secret(), bench.fetches()), ("A", 1));
    assert_eq!(adopted.remaining(bench.clock.now()), seconds(6600));
    drop(restarted);
    // The next process was killed between request and response. Its marker makes the successor retry soon.
    store.set_in_doubt(&app, bench.clock.now().wall).await.unwrap();
    bench.weixin.respond_always(TOKEN, MockResponse::refuse_connection());
    let restarted = bench.cache(7);
    assert_eq!(restarted.token().await.unwrap().token().expose_secret(), "A");
    bench.advance(250).await;
    assert!(restarted.status().is_in_doubt(restarted.now()));
    assert!(bench.fetches() > 10);
    bench.weixin.respond_always(TOKEN, token("B"));
    bench.advance(16).await;
    assert_eq!(restarted.token().await.unwrap().token().expose_secret(), "B");
    assert!(!restarted.status().is_in_doubt(restarted.now()));
    assert!(store.load(&app).await.unwrap().in_doubt_since.is_none());
}

/// The number of fetches in two minutes of ten caches that share a store, with this response.
async fn fetches_in_two_minutes(response: MockResponse) -> usize {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, response);
    let caches: Vec<_> = (0..10).map(|seed| bench.cache(seed)).collect();
    request_first_tokens(&bench, &caches).await;
    bench.advance(119).await;
    bench.fetches()
}

#[tokio::test]
async fn failed_fetch_is_not_repeated_by_peers() {
    for response in [
        MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#),
        MockResponse::lose_response(),
        MockResponse::Response(502, "<html>".into()),
    ] {
        let fetches = fetches_in_two_minutes(response).await;
        assert!((15..=50).contains(&fetches), "{fetches} fetches of ten caches in two minutes");
    }
}

#[tokio::test]
async fn refusal_of_one_peer_lets_others_try_at_once() {
    let bench = Bench::new();
    bench.weixin.respond_once(
        TOKEN,
        MockResponse::json(r#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#),
    );
    bench.weixin.respond_once(TOKEN, token("A"));
    let caches = [bench.cache(1), bench.cache(2)];
    request_first_tokens(&bench, &caches).await;
    bench.advance(2).await;
    assert!(caches.iter().all(|cache| cache.current().get().is_some()), "{caches:?}");
}

#[tokio::test]
async fn crashed_refresher_is_replaced_within_32_seconds() {
    for seed in 0..10 {
        let bench = Bench::new();
        bench.weixin.respond_once(TOKEN, token("A"));
        bench.weixin.respond_once(TOKEN, token("B"));
        let cache = bench.cache(seed);
        cache.token().await.unwrap();
        bench.advance(60 + seed % 2).await;
        // It takes the lease, sets the marker, and is killed.
        assert!(bench.store.acquire_lease(&app(), "crashed", seconds(30)).await.unwrap());
        bench.store.set_in_doubt(&app(), bench.clock.now().wall).await.unwrap();
        bench.advance(29).await;
        assert_eq!(bench.fetches(), 1, "it may still be running");
        bench.advance(3).await;
        assert_eq!(bench.store.load(&app()).await.unwrap().token.unwrap().token.expose_secret(), "B");
        assert_eq!(bench.fetches(), 2);
    }
}

#[tokio::test]
async fn refused_peer_keeps_its_retry_delay() {
    let bench = Bench::issuing(&["A"]);
    bench.weixin.respond_always(TOKEN, MockResponse::json(r#"{"errcode":40243,"errmsg":"frozen"}"#));
    let cache = bench.cache(4);
    cache.token().await.unwrap();
    while cache.status().failure.is_none() {
        bench.advance(10).await;
    }
    let before = bench.fetches();
    for _ in 0..20 {
        let since = bench.clock.now().wall;
        bench.store.set_in_doubt(&app(), since).await.unwrap();
        bench.advance(3).await;
        bench.store.clear_in_doubt(&app(), since).await.unwrap();
        bench.advance(27).await;
    }
    assert!(bench.fetches() - before <= 6, "{} fetches in ten minutes", bench.fetches() - before);
}

#[tokio::test]
async fn notification_delivers_newer_token_at_once() {
    let bench = Bench::issuing(&["A", "B"]);
    // A store in memory sends notifications.
    let store = bench.store.store();
    let [one, two] = [1, 2].map(|seed| bench.cache_with(TokenEndpoint::Token, seed, store.clone()));
    let first = one.token().await.unwrap().generation();
    assert_eq!(two.token().await.unwrap().generation(), first);
    one.refresh(first, Evidence::Reported).await.unwrap();
    // Time does not advance here.
    bench.advance(0).await;
    assert_eq!(two.current().get().unwrap().token().expose_secret(), "B");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn false_notification_costs_one_read() {
    let bench = Bench::issuing(&["A"]);
    bench.store.set_fault(Fault::FalseNotification);
    let cache = bench.cache(7);
    cache.token().await.unwrap();
    bench.advance(0).await;
    // One read of the attempt, one for the notification.
    assert_eq!(bench.store.reads(), 2);
    bench.advance(60).await;
    assert!((30..=34).contains(&bench.store.reads()), "{} reads", bench.store.reads());
}

fn bench_with_fault(endpoint: TokenEndpoint, fault: Fault) -> (Bench, TokenCache) {
    let bench = Bench::new();
    bench.store.set_fault(fault);
    let cache = bench.cache_of(endpoint, 7);
    (bench, cache)
}

/// With `/cgi-bin/token` it is unknown which of the two Weixin issued later, so one more fetch follows soon.
#[tokio::test]
async fn lost_race_adopts_the_stored_token() {
    for (endpoint, path, in_doubt) in
        [(TokenEndpoint::Token, TOKEN, true), (TokenEndpoint::StableToken, STABLE, false)]
    {
        let (bench, cache) = bench_with_fault(endpoint, Fault::PeerWritesFirst(seconds(7200)));
        bench.weixin.respond_always(path, token("A"));
        assert_eq!(cache.token().await.unwrap().token().expose_secret(), "PEER");
        assert_eq!(cache.status().in_doubt_from.is_some(), in_doubt);
        bench.store.set_fault(Fault::None);
        bench.clock.advance_and_run(seconds(6)).await;
        assert_eq!(bench.weixin.count(path), if in_doubt { 2 } else { 1 });
    }
}

#[tokio::test]
async fn token_that_cannot_be_stored_is_served() {
    // Expired tokens are not adopted. The cache tries three times.
    for (fault, writes) in
        [(Fault::None, 1), (Fault::RejectWrites, 1), (Fault::PeerWritesFirst(Duration::ZERO), 3)]
    {
        let (bench, cache) = bench_with_fault(TokenEndpoint::Token, fault);
        bench.weixin.respond_once(TOKEN, token("A"));
        assert_eq!(cache.token().await.unwrap().token().expose_secret(), "A");
        assert_eq!(bench.store.writes.load(Ordering::Relaxed), writes, "{fault:?}");
    }
}

#[tokio::test]
async fn only_a_lost_response_leaves_the_marker() {
    for (endpoint, response, marked) in [
        (TokenEndpoint::Token, MockResponse::refuse_connection(), false),
        (TokenEndpoint::Token, MockResponse::lose_response(), true),
        (TokenEndpoint::StableToken, MockResponse::lose_response(), false),
    ] {
        let (bench, cache) = bench_with_fault(endpoint, Fault::None);
        bench.weixin.respond_always(TOKEN, response.clone());
        bench.weixin.respond_always(STABLE, response);
        let (outcome, ()) = tokio::join!(cache.token(), bench.clock.advance_and_run(seconds(5)));
        assert!(outcome.is_err());
        assert_eq!(bench.store.load(&app()).await.unwrap().in_doubt_since.is_some(), marked);
    }
}

#[tokio::test]
async fn start_without_store_uses_fallback_token() {
    let (bench, cache) = bench_with_fault(TokenEndpoint::Token, Fault::Unavailable);
    let requested_at = UnixMillis::new(1_780_000_000_000);
    let known =
        StoredToken::new("FALLBACK".parse().unwrap(), Generation::new(1), requested_at, seconds(7200));
    bench.store.store().compare_and_set(&app(), Generation::default(), known).await.unwrap();
    assert_eq!(cache.token().await.unwrap().token().expose_secret(), "FALLBACK");
    assert_eq!(bench.weixin.count(TOKEN), 0);
}

#[tokio::test]
async fn slow_store_has_one_read_in_flight() {
    let (bench, cache) = bench_with_fault(TokenEndpoint::Token, Fault::None);
    bench.weixin.respond_once(TOKEN, token("A"));
    cache.token().await.unwrap();
    bench.store.set_fault(Fault::Hang);
    let before = bench.store.reads();
    bench.clock.advance_and_run(seconds(2)).await;
    for _ in 0..5 {
        // Wakes the task without a fetch.
        cache.refresh(Generation::new(1), Evidence::Reported).await.unwrap();
    }
    bench.clock.advance_and_run(seconds(1)).await;
    assert_eq!(bench.store.reads() - before, 1);
}

#[tokio::test]
async fn start_without_store_waits_a_lease_and_fetches() {
    let bench = Bench::new();
    bench.store.set_fault(Fault::Unavailable);
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.cache(1);
    let error = cache.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::StoreUnavailable);
    assert!(error.retry_after().unwrap() <= seconds(30));
    bench.advance(29).await;
    assert_eq!(bench.fetches(), 0, "a peer may still be fetching");
    bench.advance(4).await;
    assert_eq!((text(&cache).await, bench.fetches()), ("A".to_owned(), 1));
    assert_eq!(bench.origins(), [TokenOrigin::FetchedWithoutLease]);
}

#[tokio::test]
async fn valid_token_is_replaced_without_lease_near_expiry_only() {
    let bench = Bench::issuing(&["A", "B"]);
    let cache = bench.cache(2);
    assert_eq!(text(&cache).await, "A");
    bench.store.set_fault(Fault::Unavailable);
    bench.advance(7200 - 33).await;
    assert_eq!((text(&cache).await, bench.fetches()), ("A".to_owned(), 1));
    bench.advance(26).await;
    assert_eq!((text(&cache).await, bench.fetches()), ("B".to_owned(), 2));
    let events = bench.events.lock().unwrap();
    assert_eq!(
        events.iter().filter(|event| **event == TokenEvent::StoreUnavailable).count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn stable_token_needs_no_store() {
    let bench = Bench::new();
    bench.store.set_fault(Fault::Unavailable);
    bench.weixin.respond_once(STABLE, token("A"));
    let cache = bench.cache_of(TokenEndpoint::StableToken, 3);
    assert_eq!(text(&cache).await, "A");
    assert_eq!(bench.origins(), [TokenOrigin::FetchedWithoutLease]);
}

#[tokio::test]
async fn rejected_token_is_replaced_without_lease_at_once() {
    let bench = Bench::issuing(&["A", "B"]);
    let cache = bench.cache(4);
    let first = cache.token().await.unwrap();
    bench.store.set_fault(Fault::Unavailable);
    let second = cache.refresh(first.generation(), Evidence::Observed).await.unwrap();
    assert_eq!(second.token().expose_secret(), "B");
}

#[tokio::test]
async fn report_during_store_outage_keeps_current_token() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.cache(5);
    let first = cache.token().await.unwrap();
    bench.store.set_fault(Fault::Unavailable);
    let error = cache.refresh(first.generation(), Evidence::Reported).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::StoreUnavailable);
    assert_eq!((text(&cache).await, bench.fetches()), ("A".to_owned(), 1));
}

/// Two caches fetch without lease, the second this much later. Then the store recovers.
async fn two_unleased_fetches_agree_on_a_third_token(later: u64) {
    let bench = Bench::new();
    bench.store.set_fault(Fault::Unavailable);
    for text in ["A", "B", "C"] {
        bench.weixin.respond_once(TOKEN, token(text));
    }
    let (one, two) = (bench.cache(6), bench.cache(7));
    assert!(one.token().await.is_err());
    bench.advance(later).await;
    assert!(two.token().await.is_err());
    bench.advance(35).await;
    assert_ne!(text(&one).await, text(&two).await);
    bench.store.set_fault(Fault::None);
    bench.advance(15).await;
    assert_eq!((text(&one).await, text(&two).await), ("C".to_owned(), "C".to_owned()));
    bench.advance(600).await;
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn store_recovery_needs_one_more_fetch() {
    two_unleased_fetches_agree_on_a_third_token(1).await;
}

#[tokio::test]
async fn two_tokens_of_one_generation_are_reconciled() {
    two_unleased_fetches_agree_on_a_third_token(0).await;
}

#[tokio::test]
async fn lost_records_are_published_again_without_a_fetch() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.cache(8);
    let first = cache.token().await.unwrap();
    bench.store.lose_records();
    bench.advance(3).await;
    let stored = bench.store.load(&app()).await.unwrap();
    assert_eq!(stored.generation(), first.generation());
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn wall_clock_set_back_makes_no_token_younger() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.cache(10);
    cache.token().await.unwrap();
    bench.advance(1800).await;
    bench.clock.set_back(seconds(600));
    bench.store.lose_records();
    bench.advance(3).await;
    let stored = bench.store.load(&app()).await.unwrap().token.unwrap();
    let left = stored.to_cached(bench.clock.now()).remaining(bench.clock.now());
    assert!(left <= seconds(7200 - 1800), "{left:?}");
}

#[tokio::test]
async fn suspension_while_taking_the_lease_prevents_the_fetch() {
    let bench = Bench::issuing(&["A"]);
    *bench.store.lease_duration.lock().unwrap() = seconds(25);
    let cache = bench.cache(9);
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { text(&cache).await }
    });
    bench.clock.advance_and_run(Duration::from_millis(10)).await;
    assert_eq!(bench.fetches(), 0, "the lease may have expired");
    let marker = bench.store.load(&app()).await.unwrap().in_doubt_since;
    assert_eq!(marker, None, "nothing was requested");
    bench.advance(3).await;
    assert_eq!((waiting.await.unwrap(), bench.fetches()), ("A".to_owned(), 1));
}

#[tokio::test]
async fn memory_store_passes_the_conformance_suite() {
    wxsub_core::testing::store_conformance::run(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn leases_expire() {
    let clock = Arc::new(ManualClock::new());
    let (store, app) = (MemoryStore::with_clock(clock.clone()), app());
    assert!(store.acquire_lease(&app, "one", seconds(30)).await.unwrap());
    clock.advance(seconds(29));
    assert!(!store.acquire_lease(&app, "two", seconds(30)).await.unwrap());
    clock.advance(seconds(1));
    assert!(store.acquire_lease(&app, "two", seconds(30)).await.unwrap());
}
