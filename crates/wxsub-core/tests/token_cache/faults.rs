//! Faults around a token cache: panics, hanging or unavailable stores, killed peers.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    CachedToken, Evidence, Generation, TokenCache, TokenCacheBuilder, TokenEndpoint, TokenError,
    TokenErrorKind, TokenEvent, TokenSource,
};

const TOKEN: &str = "/cgi-bin/token";
const STABLE: &str = "/cgi-bin/stable_token";
const HOUR: Duration = Duration::from_secs(3600);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn token(text: &str) -> MockResponse {
    MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#))
}

fn app() -> AppId {
    "wx1".parse().unwrap()
}

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    store: Arc<Moody>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store =
            Arc::new(Moody { store: MemoryStore::with_clock(clock.clone()), mood: AtomicUsize::new(WELL) });
        Self { clock, weixin: Arc::new(MockTransport::new()), store }
    }

    fn cache(&self) -> TokenCacheBuilder {
        TokenCache::builder(app(), "SECRET".parse().unwrap(), self.weixin.clone())
            .clock(self.clock.clone())
            .jitter_seed(7)
    }

    fn reports(
        &self,
        cache: &TokenCache,
        failed: Generation,
        evidence: Evidence,
    ) -> JoinHandle<Result<Arc<CachedToken>, TokenError>> {
        let cache = cache.clone();
        tokio::spawn(async move { cache.refresh(failed, evidence).await })
    }
}

const WELL: usize = 0;
const AWAY: usize = 1;
const HANGING: usize = 2;

/// A store that can be unavailable or hang.
#[derive(Debug)]
struct Moody {
    store: MemoryStore,
    mood: AtomicUsize,
}

impl Moody {
    fn is(&self, mood: usize) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            WELL => work.await,
            AWAY => Err(StoreError::new("away")),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl TokenStore for Moody {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.ask(self.store.load(app)).await
    }
    async fn compare_and_set(
        &self,
        app: &AppId,
        old: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.ask(self.store.compare_and_set(app, old, token)).await
    }
    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        self.ask(self.store.acquire_lease(app, holder, length)).await
    }
    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.ask(self.store.release_lease(app, holder)).await
    }
    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.ask(self.store.set_in_doubt(app, since)).await
    }
    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.ask(self.store.clear_in_doubt(app, since)).await
    }
    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.ask(self.store.try_acquire_force_refresh(app, now)).await
    }
}

/// An observer that panics on the first event of this kind.
fn panics_once(at: fn(&TokenEvent) -> bool) -> impl Fn(&TokenEvent) + Send + Sync + 'static {
    let done = AtomicBool::new(false);
    move |notice| {
        assert!(!at(notice) || done.swap(true, Ordering::SeqCst), "the observer panics, as this test wants");
    }
}

#[tokio::test]
async fn observer_panic_leaves_no_caller_waiting() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, token("B"));
    let cache =
        bench.cache().on_event(panics_once(|notice| matches!(notice, TokenEvent::Rejected { .. }))).build();
    let dead = cache.token().await.unwrap().generation();
    let report = bench.reports(&cache, dead, Evidence::Observed);
    bench.clock.advance_and_run(seconds(60)).await;
    assert!(report.is_finished(), "{cache:?}");
    // The next caller restarts the task.
    drop(cache.token().await);
    bench.clock.advance_and_run(seconds(15)).await;
    assert!(cache.token().await.is_ok_and(|issued| issued.generation() > dead));
}

/// A read is enough to restart the task.
#[tokio::test]
async fn refresh_continues_after_panic() {
    for reads_only in [true, false] {
        let bench = Bench::new();
        bench.weixin.respond_once(TOKEN, token("A"));
        bench.weixin.respond_always(TOKEN, token("B"));
        let cache = bench.cache().on_event(panics_once(|_| true)).build();
        cache.token().await.unwrap();
        for _ in 0..500 {
            bench.clock.advance_and_run(seconds(10)).await;
            match reads_only {
                true => assert!(cache.current().get().is_some()),
                false => assert!(cache.token().await.is_ok()),
            }
        }
        let fetched = bench.weixin.count(TOKEN);
        assert_eq!(cache.current().get().unwrap().token().expose_secret(), "B", "{fetched} fetches");
    }
}

#[derive(Debug)]
struct NoTimer {
    clock: ManualClock,
    panics: AtomicUsize,
}

#[async_trait]
impl Clock for NoTimer {
    fn now(&self) -> wxsub_core::clock::ClockReading {
        self.clock.now()
    }
    async fn sleep_until(&self, _: wxsub_core::clock::MonotonicInstant) {
        self.panics.fetch_add(1, Ordering::SeqCst);
        panic!("no timer, as on a runtime that was built without one");
    }
}

#[tokio::test]
async fn repeated_panic_is_an_error_at_a_bounded_rate() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let clock = Arc::new(NoTimer { clock: ManualClock::new(), panics: AtomicUsize::new(0) });
    let cache = bench.cache().clock(clock.clone()).build();
    for _ in 0..100 {
        let error = cache.token().await.unwrap_err();
        assert_eq!(error.kind(), &TokenErrorKind::Interrupted);
        assert!(error.retry_after().is_some());
        tokio::task::yield_now().await;
    }
    assert_eq!(clock.panics.load(Ordering::SeqCst), 1);
    // The task waits exactly until then.
    clock.clock.advance(cache.token().await.unwrap_err().retry_after().unwrap());
    drop(cache.token().await);
    tokio::task::yield_now().await;
    assert_eq!(clock.panics.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn lost_response_of_peer_puts_token_in_doubt() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let cache = bench.cache().store(bench.store.clone()).build();
    let held = cache.token().await.unwrap();
    // The peer sets the marker, and is killed.
    bench.store.set_in_doubt(&app(), bench.clock.now().wall).await.unwrap();
    bench.clock.advance_and_run(seconds(200)).await;
    assert!(!cache.status().is_in_doubt(cache.now()));
    bench.clock.advance_and_run(seconds(100)).await;
    let (status, now) = (cache.status(), cache.now());
    assert!(status.is_in_doubt(now) && status.safe_ttl(now) <= seconds(60), "{status:?}");
    assert_eq!(cache.current().get().unwrap().generation(), held.generation());
}

#[tokio::test]
async fn cleared_marker_ends_the_takeover() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.cache().store(bench.store.clone()).build();
    cache.token().await.unwrap();
    let since = bench.clock.now().wall;
    bench.store.set_in_doubt(&app(), since).await.unwrap();
    bench.clock.advance_and_run(seconds(10)).await;
    bench.store.clear_in_doubt(&app(), since).await.unwrap();
    bench.clock.advance_and_run(seconds(300)).await;
    assert!(!cache.status().is_in_doubt(cache.now()));
    assert_eq!(bench.weixin.count(TOKEN), 1);
}

#[tokio::test]
async fn report_is_resolved_while_peer_holds_the_lease() {
    let bench = Bench::new();
    bench.weixin.respond_always(STABLE, token("A"));
    let cache = bench.cache().endpoint(TokenEndpoint::StableToken).store(bench.store.clone()).build();
    let claimed = cache.token().await.unwrap().generation();
    assert!(bench.store.acquire_lease(&app(), "peer", seconds(1)).await.unwrap());
    let report = bench.reports(&cache, claimed, Evidence::Reported);
    bench.clock.advance_and_run(seconds(30)).await;
    assert_eq!(report.await.unwrap().unwrap_err().kind(), &TokenErrorKind::TokenUnchanged);
}

#[tokio::test]
async fn same_stable_token_keeps_its_generation() {
    for mood in [WELL, AWAY] {
        let bench = Bench::new();
        bench.weixin.respond_always(STABLE, MockResponse::json(r#"{"access_token":"A","expires_in":320}"#));
        bench.store.is(mood);
        let cache = bench.cache().endpoint(TokenEndpoint::StableToken).store(bench.store.clone()).build();
        let first = cache.token().await.unwrap().generation();
        bench.clock.advance_and_run(seconds(100)).await;
        assert!(bench.weixin.count(STABLE) > 2);
        assert_eq!(cache.token().await.unwrap().generation(), first);
        let report = bench.reports(&cache, first, Evidence::Reported);
        bench.clock.advance_and_run(seconds(5)).await;
        assert_eq!(report.await.unwrap().unwrap_err().kind(), &TokenErrorKind::TokenUnchanged);
    }
}

#[tokio::test]
async fn hanging_store_does_not_block_refresh() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, token("B"));
    let cache = bench.cache().store(bench.store.clone()).build();
    cache.token().await.unwrap();
    bench.store.is(HANGING);
    for _ in 0..120 {
        bench.clock.advance_and_run(seconds(60)).await;
        assert!(cache.current().get().is_some());
    }
    assert_eq!(cache.current().get().unwrap().token().expose_secret(), "B");
    bench.store.is(WELL);
    bench.clock.advance_and_run(2 * HOUR).await;
    assert!(bench.store.load(&app()).await.unwrap().token.is_some());
}

#[tokio::test]
async fn report_of_unknown_generation_starts_no_fetch() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, token("A"));
    let cache = bench.cache().build();
    let held = cache.token().await.unwrap().generation();
    let never = Generation::new(held.get() + 1_000_000_000);
    for evidence in [Evidence::Observed, Evidence::Reported] {
        assert_eq!(cache.refresh(never, evidence).await.unwrap().generation(), held);
    }
    assert_eq!((bench.weixin.count(TOKEN), cache.current().get().unwrap().generation()), (1, held));
}

#[tokio::test]
async fn same_classic_token_leaves_no_marker() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, token("A"));
    let cache = bench.cache().store(bench.store.clone()).build();
    let held = cache.token().await.unwrap().generation();
    let report = bench.reports(&cache, held, Evidence::Reported);
    bench.clock.advance_and_run(seconds(5)).await;
    assert_eq!(report.await.unwrap().unwrap_err().kind(), &TokenErrorKind::TokenUnchanged);
    assert_eq!(bench.store.load(&app()).await.unwrap().in_doubt_since, None);
}

/// An older failure does not resolve the report.
#[tokio::test]
async fn report_waits_for_its_own_attempt() {
    for (step, expected) in [(token("B"), Ok("B")), (MockResponse::Hang, Err(TokenErrorKind::TimedOut))] {
        let bench = Bench::new();
        bench.weixin.respond_once(TOKEN, token("A"));
        bench.weixin.respond_once(TOKEN, MockResponse::json(r#"{"errcode":40243,"errmsg":"frozen"}"#));
        bench.weixin.respond_always(TOKEN, step);
        let cache = bench.cache().build();
        let held = cache.token().await.unwrap().generation();
        while cache.status().failure.is_none() {
            bench.clock.advance_and_run(seconds(1)).await;
        }
        let report = bench.reports(&cache, held, Evidence::Reported);
        bench.clock.advance_and_run(seconds(20)).await;
        let outcome = report.await.unwrap();
        let said = outcome
            .as_ref()
            .map(|issued| issued.token().expose_secret())
            .map_err(|error| error.kind().clone());
        assert_eq!(said, expected);
    }
}

/// A later caller gets the remaining retry delay.
#[tokio::test]
async fn retry_after_counts_down() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, MockResponse::json(r#"{"errcode":40243,"errmsg":"frozen"}"#));
    let cache = bench.cache().build();
    let first = cache.token().await.unwrap_err().retry_after().unwrap();
    bench.clock.advance_and_run(seconds(3)).await;
    let later = cache.token().await.unwrap_err().retry_after().unwrap();
    assert_eq!(first - later, seconds(3));
}
