//! Token caches whose store has a conflicting record.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{Evidence, Generation, TokenCache, TokenEndpoint, TokenSource};

const TOKEN: &str = "/cgi-bin/token";
const STABLE: &str = "/cgi-bin/stable_token";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Operations fail, but the fallback record is available.
    Away,
    /// A read never ends.
    Slow,
    /// Before each write, a peer stores its own token, with this lifetime.
    Beaten(Duration),
    /// It accepts no token.
    Full,
}

#[derive(Debug)]
struct Fickle {
    store: MemoryStore,
    mood: Mutex<Mood>,
    offers: AtomicUsize,
    readings: AtomicUsize,
}

impl Fickle {
    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }
}

#[async_trait]
impl TokenStore for Fickle {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        match self.mood() {
            Mood::Away => Err(StoreError::new("away")),
            Mood::Slow => std::future::pending().await,
            _ => self.store.load(app).await,
        }
    }
    async fn load_fallback(&self, app: &AppId) -> Option<StoredToken> {
        self.store.load(app).await.ok()?.token
    }
    async fn compare_and_set(
        &self,
        app: &AppId,
        old: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.offers.fetch_add(1, Ordering::Relaxed);
        match self.mood() {
            Mood::Beaten(life) => {
                let next = Generation::new(token.generation.get() + 1);
                let other = StoredToken::new("OTHER".parse().unwrap(), next, token.requested_at, life);
                self.store.compare_and_set(app, old, other).await?;
            }
            Mood::Full => return Ok(CasOutcome::Conflict(self.store.load(app).await?)),
            _ => {}
        }
        self.store.compare_and_set(app, old, token).await
    }
    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        match self.mood() {
            Mood::Away => Err(StoreError::new("away")),
            _ => self.store.acquire_lease(app, holder, length).await,
        }
    }
    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.store.release_lease(app, holder).await
    }
    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.store.set_in_doubt(app, since).await
    }
    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.store.clear_in_doubt(app, since).await
    }
    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.store.try_acquire_force_refresh(app, now).await
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    store: Arc<Fickle>,
    keeper: TokenCache,
}

fn app() -> AppId {
    "wx1".parse().unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn token(text: &str) -> MockResponse {
    MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#))
}

fn bench(endpoint: TokenEndpoint, mood: Mood) -> Bench {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    let store = Arc::new(Fickle {
        store: MemoryStore::with_clock(clock.clone()),
        mood: Mutex::new(mood),
        offers: AtomicUsize::default(),
        readings: AtomicUsize::default(),
    });
    let keeper = TokenCache::builder(app(), "SECRET".parse().unwrap(), weixin.clone())
        .endpoint(endpoint)
        .clock(clock.clone())
        .store(store.clone())
        .jitter_seed(7)
        .build();
    Bench { clock, weixin, store, keeper }
}

/// With `/cgi-bin/token` it is unknown which of the two Weixin issued later, so one more fetch follows soon.
#[tokio::test]
async fn lost_race_adopts_the_stored_token() {
    for (endpoint, path, suspect) in
        [(TokenEndpoint::Token, TOKEN, true), (TokenEndpoint::StableToken, STABLE, false)]
    {
        let bench = bench(endpoint, Mood::Beaten(seconds(7200)));
        bench.weixin.respond_always(path, token("A"));
        assert_eq!(bench.keeper.token().await.unwrap().token().expose_secret(), "OTHER");
        assert_eq!(bench.keeper.status().in_doubt_from.is_some(), suspect);
        bench.store.is(Mood::Well);
        bench.clock.advance_and_run(seconds(6)).await;
        assert_eq!(bench.weixin.count(path), if suspect { 2 } else { 1 });
    }
}

#[tokio::test]
async fn token_that_cannot_be_stored_is_served() {
    // Expired tokens are not adopted. The cache tries three times.
    for (mood, offers) in [(Mood::Well, 1), (Mood::Full, 1), (Mood::Beaten(Duration::ZERO), 3)] {
        let bench = bench(TokenEndpoint::Token, mood);
        bench.weixin.respond_once(TOKEN, token("A"));
        assert_eq!(bench.keeper.token().await.unwrap().token().expose_secret(), "A");
        assert_eq!(bench.store.offers.load(Ordering::Relaxed), offers, "{mood:?}");
    }
}

#[tokio::test]
async fn only_a_lost_response_leaves_the_marker() {
    for (endpoint, step, marked) in [
        (TokenEndpoint::Token, MockResponse::refuse_connection(), false),
        (TokenEndpoint::Token, MockResponse::lose_response(), true),
        (TokenEndpoint::StableToken, MockResponse::lose_response(), false),
    ] {
        let bench = bench(endpoint, Mood::Well);
        bench.weixin.respond_always(TOKEN, step.clone());
        bench.weixin.respond_always(STABLE, step);
        let (asked, ()) = tokio::join!(bench.keeper.token(), bench.clock.advance_and_run(seconds(5)));
        assert!(asked.is_err());
        assert_eq!(bench.store.load(&app()).await.unwrap().in_doubt_since.is_some(), marked);
    }
}

#[tokio::test]
async fn start_without_store_uses_fallback_token() {
    let bench = bench(TokenEndpoint::Token, Mood::Away);
    let asked = UnixMillis::new(1_780_000_000_000);
    let known = StoredToken::new("KNOWN".parse().unwrap(), Generation::new(1), asked, seconds(7200));
    bench.store.store.compare_and_set(&app(), Generation::default(), known).await.unwrap();
    assert_eq!(bench.keeper.token().await.unwrap().token().expose_secret(), "KNOWN");
    assert_eq!(bench.weixin.count(TOKEN), 0);
}

#[tokio::test]
async fn slow_store_has_one_read_in_flight() {
    let bench = bench(TokenEndpoint::Token, Mood::Well);
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.keeper.token().await.unwrap();
    bench.store.is(Mood::Slow);
    let before = bench.store.readings.load(Ordering::Relaxed);
    bench.clock.advance_and_run(seconds(2)).await;
    for _ in 0..5 {
        // Wakes the task without a fetch.
        bench.keeper.refresh(Generation::new(1), Evidence::Reported).await.unwrap();
    }
    bench.clock.advance_and_run(seconds(1)).await;
    assert_eq!(bench.store.readings.load(Ordering::Relaxed) - before, 1);
}
