//! Panics, hanging stores, killed peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use wxsub_core::clock::{Clock, ClockReading, MonotonicInstant};
use wxsub_core::store::TokenStore;
use wxsub_core::testing::{ManualClock, MockResponse};
use wxsub_core::token::{Evidence, TokenEndpoint, TokenErrorKind, TokenEvent, TokenSource};

use super::harness::{Bench, Fault, STABLE, app, reporter, seconds, served, token, with_token};

/// An observer that panics on the first event of this kind.
fn panics_once(at: fn(&TokenEvent) -> bool) -> impl Fn(&TokenEvent) + Send + Sync + 'static {
    let done = AtomicBool::new(false);
    move |notice| {
        assert!(!at(notice) || done.swap(true, Ordering::SeqCst), "the observer panics, as this test wants");
    }
}

#[tokio::test]
async fn observer_panic_leaves_no_caller_waiting() {
    let bench = Bench::issuing_a_then(token("B"));
    let panics = panics_once(|notice| matches!(notice, TokenEvent::Rejected { .. }));
    let (cache, dead) = with_token(bench.builder().on_event(panics).build().unwrap()).await;
    let report = reporter(&cache, dead, Evidence::Observed);
    bench.advance(60).await;
    assert!(report.is_finished(), "{cache:?}");
    // The next caller restarts the task.
    drop(cache.token().await);
    bench.advance(15).await;
    assert!(cache.token().await.is_ok_and(|issued| issued.generation() > dead));
}

/// A read is enough to restart the task.
#[tokio::test]
async fn refresh_continues_after_panic() {
    for reads_only in [true, false] {
        let bench = Bench::issuing_a_then(token("B"));
        let (cache, _) = with_token(bench.builder().on_event(panics_once(|_| true)).build().unwrap()).await;
        for _ in 0..500 {
            bench.advance(10).await;
            match reads_only {
                true => assert!(cache.current().get().is_some()),
                false => assert!(cache.token().await.is_ok()),
            }
        }
        assert_eq!(served(&cache), "B", "{} fetches", bench.fetches());
    }
}

#[derive(Debug)]
struct NoTimer {
    clock: ManualClock,
    panics: AtomicUsize,
}

#[async_trait]
impl Clock for NoTimer {
    fn now(&self) -> ClockReading {
        self.clock.now()
    }
    async fn sleep_until(&self, _: MonotonicInstant) {
        self.panics.fetch_add(1, Ordering::SeqCst);
        panic!("no timer, as on a runtime that was built without one");
    }
}

#[tokio::test]
async fn repeated_panic_is_an_error_at_a_bounded_rate() {
    let bench = Bench::always(MockResponse::Hang);
    let clock = Arc::new(NoTimer { clock: ManualClock::new(), panics: AtomicUsize::new(0) });
    let cache = bench.builder().clock(clock.clone()).build().unwrap();
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
    while clock.panics.load(Ordering::SeqCst) == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(clock.panics.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn lost_response_of_peer_puts_token_in_doubt() {
    let bench = Bench::issuing_a_then(MockResponse::Hang);
    let cache = bench.cache(7);
    let held = cache.token().await.unwrap();
    // The peer sets the marker, and is killed.
    bench.set_in_doubt().await;
    bench.advance(200).await;
    assert!(!cache.status().is_in_doubt(cache.now()));
    bench.advance(100).await;
    let (status, now) = (cache.status(), cache.now());
    assert!(status.is_in_doubt(now) && status.safe_ttl(now) <= seconds(60), "{status:?}");
    assert_eq!(cache.current().get().unwrap().generation(), held.generation());
}

#[tokio::test]
async fn cleared_marker_ends_the_takeover() {
    let bench = Bench::issuing(&["A"]);
    let (cache, _) = with_token(bench.cache(7)).await;
    let since = bench.set_in_doubt().await;
    bench.advance(3).await;
    bench.store.clear_in_doubt(&app(), since).await.unwrap();
    bench.advance(300).await;
    assert!(!cache.status().is_in_doubt(cache.now()));
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn report_is_resolved_while_peer_holds_the_lease() {
    let bench = Bench::always(token("A"));
    let (cache, claimed) = with_token(bench.cache_of(TokenEndpoint::StableToken, 7)).await;
    bench.store.acquire_lease(&app(), "peer", seconds(1)).await.unwrap();
    let report = reporter(&cache, claimed, Evidence::Reported);
    bench.advance(30).await;
    assert!(matches!(report.await.unwrap().unwrap_err().kind(), TokenErrorKind::TokenUnchanged { .. }));
}

#[tokio::test]
async fn same_stable_token_keeps_its_generation() {
    for fault in [Fault::None, Fault::Unavailable] {
        let bench = Bench::always(MockResponse::json(r#"{"access_token":"A","expires_in":320}"#));
        bench.store.set_fault(fault);
        let (cache, first) = with_token(bench.cache_of(TokenEndpoint::StableToken, 7)).await;
        bench.advance(100).await;
        assert!(bench.weixin.count(STABLE) > 2);
        assert_eq!(cache.token().await.unwrap().generation(), first);
        let report = reporter(&cache, first, Evidence::Reported);
        bench.advance(5).await;
        assert!(matches!(report.await.unwrap().unwrap_err().kind(), TokenErrorKind::TokenUnchanged { .. }));
    }
}

/// An alert about failed fetches ends with it.
#[tokio::test]
async fn same_stable_token_after_a_failure_is_an_event() {
    let bench = Bench::new();
    let refused = MockResponse::json(r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#);
    [token("A"), refused].into_iter().for_each(|response| bench.weixin.respond_once(STABLE, response));
    bench.weixin.respond_always(STABLE, token("A"));
    let (cache, first) = with_token(bench.cache_of(TokenEndpoint::StableToken, 7)).await;
    let report = reporter(&cache, first, Evidence::Reported);
    bench.advance(60).await;
    assert!(report.await.unwrap().is_err());
    let events = bench.events.lock().unwrap();
    let failed = events.iter().position(|event| matches!(event, TokenEvent::FetchFailed { .. })).unwrap();
    let again = |event: &_| matches!(event, TokenEvent::Unchanged { generation, .. } if *generation == first);
    assert_eq!(events[failed..].iter().filter(|event| again(event)).count(), 1, "{events:?}");
}

#[tokio::test]
async fn hanging_store_does_not_block_refresh() {
    let bench = Bench::issuing_a_then(token("B"));
    let (cache, _) = with_token(bench.cache(7)).await;
    bench.store.set_fault(Fault::Hang);
    for _ in 0..120 {
        bench.advance(60).await;
        assert!(cache.current().get().is_some());
    }
    assert_eq!(served(&cache), "B");
    bench.store.set_fault(Fault::None);
    bench.advance(7200).await;
    assert!(bench.record().await.token.is_some());
}

#[tokio::test]
async fn same_classic_token_leaves_no_marker() {
    let bench = Bench::always(token("A"));
    let (cache, held) = with_token(bench.cache(7)).await;
    let report = reporter(&cache, held, Evidence::Reported);
    bench.advance(5).await;
    assert!(matches!(report.await.unwrap().unwrap_err().kind(), TokenErrorKind::TokenUnchanged { .. }));
    assert_eq!(bench.record().await.in_doubt_since, None);
}
