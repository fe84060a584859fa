//! Token caches with a shared store that is unavailable, slow, or has lost its records.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::atomic::{AtomicBool, Ordering};
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

/// A store that can be unavailable, be emptied, and be slow with a lease.
#[derive(Debug)]
struct Shelf {
    store: Mutex<Arc<MemoryStore>>,
    away: AtomicBool,
    clock: Arc<ManualClock>,
    /// How long taking a lease takes.
    stops: Mutex<Duration>,
}

impl Shelf {
    fn reach(&self) -> Result<Arc<MemoryStore>, StoreError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(StoreError::new("away")),
            false => Ok(Arc::clone(&self.store.lock().unwrap())),
        }
    }

    fn goes(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn loses_everything(&self) {
        *self.store.lock().unwrap() = Arc::new(MemoryStore::with_clock(self.clock.clone()));
    }
}

#[async_trait]
impl TokenStore for Shelf {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.reach()?.load(app).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.reach()?.compare_and_set(app, replaces, token).await
    }

    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        let leased = self.reach()?.acquire_lease(app, holder, length).await;
        let stops = std::mem::take(&mut *self.stops.lock().unwrap());
        self.clock.advance(stops);
        leased
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.reach()?.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.reach()?.set_in_doubt(app, since).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.reach()?.clear_in_doubt(app, since).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.reach()?.try_acquire_force_refresh(app, now).await
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    shelf: Arc<Shelf>,
    events: Arc<Mutex<Vec<TokenEvent>>>,
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
        let shelf = Shelf {
            store: Mutex::new(Arc::new(MemoryStore::with_clock(clock.clone()))),
            away: AtomicBool::new(false),
            clock: clock.clone(),
            stops: Mutex::default(),
        };
        Self { clock, weixin: Arc::new(MockTransport::new()), shelf: Arc::new(shelf), events: Arc::default() }
    }

    fn keeper(&self, endpoint: TokenEndpoint, seed: u64) -> TokenCache {
        let events = Arc::clone(&self.events);
        TokenCache::builder("wx1".parse().unwrap(), "SECRET".parse().unwrap(), self.weixin.clone())
            .clock(self.clock.clone())
            .store(self.shelf.clone())
            .endpoint(endpoint)
            .on_event(move |notice| events.lock().unwrap().push(notice.clone()))
            .jitter_seed(seed)
            .build()
    }

    fn fetches(&self) -> usize {
        self.weixin.count(TOKEN) + self.weixin.count(STABLE)
    }

    async fn pass(&self, span: u64) {
        self.clock.advance_and_run(seconds(span)).await;
    }

    fn obtained(&self) -> Vec<TokenOrigin> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter_map(|notice| match notice {
                TokenEvent::Refreshed { origin, .. } => Some(*origin),
                _ => None,
            })
            .collect()
    }
}

async fn held(keeper: &TokenCache) -> String {
    keeper.token().await.unwrap().token().expose_secret().to_owned()
}

#[tokio::test]
async fn start_without_store_waits_a_lease_and_fetches() {
    let bench = Bench::new();
    bench.shelf.goes(true);
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.keeper(TokenEndpoint::Token, 1);
    let error = keeper.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::StoreUnavailable);
    assert!(error.retry_after().unwrap() <= seconds(30));
    bench.pass(29).await;
    assert_eq!(bench.fetches(), 0, "a peer may still be fetching");
    bench.pass(4).await;
    assert_eq!((held(&keeper).await, bench.fetches()), ("A".to_owned(), 1));
    assert_eq!(bench.obtained(), [TokenOrigin::FetchedWithoutLease]);
}

#[tokio::test]
async fn valid_token_is_replaced_without_lease_near_expiry_only() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let keeper = bench.keeper(TokenEndpoint::Token, 2);
    assert_eq!(held(&keeper).await, "A");
    bench.shelf.goes(true);
    bench.pass(7200 - 33).await;
    assert_eq!((held(&keeper).await, bench.fetches()), ("A".to_owned(), 1));
    bench.pass(26).await;
    assert_eq!((held(&keeper).await, bench.fetches()), ("B".to_owned(), 2));
    let events = bench.events.lock().unwrap();
    assert_eq!(
        events.iter().filter(|notice| **notice == TokenEvent::StoreUnavailable).count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn stable_token_needs_no_store() {
    let bench = Bench::new();
    bench.shelf.goes(true);
    bench.weixin.respond_once(STABLE, token("A"));
    let keeper = bench.keeper(TokenEndpoint::StableToken, 3);
    assert_eq!(held(&keeper).await, "A");
    assert_eq!(bench.obtained(), [TokenOrigin::FetchedWithoutLease]);
}

#[tokio::test]
async fn rejected_token_is_replaced_without_lease_at_once() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let keeper = bench.keeper(TokenEndpoint::Token, 4);
    let first = keeper.token().await.unwrap();
    bench.shelf.goes(true);
    let second = keeper.refresh(first.generation(), Evidence::Observed).await.unwrap();
    assert_eq!(second.token().expose_secret(), "B");
}

#[tokio::test]
async fn report_during_store_outage_keeps_current_token() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.keeper(TokenEndpoint::Token, 5);
    let first = keeper.token().await.unwrap();
    bench.shelf.goes(true);
    let error = keeper.refresh(first.generation(), Evidence::Reported).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::StoreUnavailable);
    assert_eq!((held(&keeper).await, bench.fetches()), ("A".to_owned(), 1));
}

/// Two caches fetch without lease, the second this much later. Then the store recovers.
async fn two_unleased_fetches_agree_on_a_third_token(later: u64) {
    let bench = Bench::new();
    bench.shelf.goes(true);
    for text in ["A", "B", "C"] {
        bench.weixin.respond_once(TOKEN, token(text));
    }
    let (one, two) = (bench.keeper(TokenEndpoint::Token, 6), bench.keeper(TokenEndpoint::Token, 7));
    assert!(one.token().await.is_err());
    bench.pass(later).await;
    assert!(two.token().await.is_err());
    bench.pass(35).await;
    assert_ne!(held(&one).await, held(&two).await);
    bench.shelf.goes(false);
    bench.pass(15).await;
    assert_eq!((held(&one).await, held(&two).await), ("C".to_owned(), "C".to_owned()));
    bench.pass(600).await;
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
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.keeper(TokenEndpoint::Token, 8);
    let first = keeper.token().await.unwrap();
    bench.shelf.loses_everything();
    bench.pass(3).await;
    let stored = bench.shelf.load(&"wx1".parse().unwrap()).await.unwrap();
    assert_eq!(stored.generation(), first.generation());
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn wall_clock_set_back_makes_no_token_younger() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.keeper(TokenEndpoint::Token, 10);
    keeper.token().await.unwrap();
    bench.pass(1800).await;
    bench.clock.set_back(seconds(600));
    bench.shelf.loses_everything();
    bench.pass(3).await;
    let stored = bench.shelf.load(&"wx1".parse().unwrap()).await.unwrap().token.unwrap();
    let left = stored.to_cached(bench.clock.now()).remaining(bench.clock.now());
    assert!(left <= seconds(7200 - 1800), "{left:?}");
}

#[tokio::test]
async fn suspension_while_taking_the_lease_prevents_the_fetch() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    *bench.shelf.stops.lock().unwrap() = seconds(25);
    let keeper = bench.keeper(TokenEndpoint::Token, 9);
    let asked = tokio::spawn({
        let keeper = keeper.clone();
        async move { held(&keeper).await }
    });
    bench.clock.advance_and_run(Duration::from_millis(10)).await;
    assert_eq!(bench.fetches(), 0, "the lease may be over");
    let mark = bench.shelf.load(&"wx1".parse().unwrap()).await.unwrap().in_doubt_since;
    assert_eq!(mark, None, "nothing was asked");
    bench.pass(3).await;
    assert_eq!((asked.await.unwrap(), bench.fetches()), ("A".to_owned(), 1));
}
