//! One cache with a store of its own.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use wxsub_core::proto::AppId;
use wxsub_core::testing::{ManualClock, MockResponse};
use wxsub_core::token::{
    Evidence, FetchedToken, Generation, RefreshMode, TokenCache, TokenEndpoint, TokenErrorKind, TokenEvent,
    TokenSource, TokenUpstream, UpstreamBehavior, UpstreamRequest,
};

use super::harness::{
    Bench, STABLE, TOKEN, caller, refusal, reporter, seconds, served, text, token, with_token,
};

#[tokio::test]
async fn ten_thousand_callers_of_an_empty_cache_cost_one_fetch() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.own_cache();
    let callers: Vec<_> = (0..10_000).map(|_| caller(&cache)).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().token().expose_secret(), "A");
    }
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn no_fetch_before_the_first_request() {
    let bench = Bench::new();
    let cache = bench.own_cache();
    bench.advance(3600).await;
    assert!(cache.current().get().is_none());
    assert_eq!(bench.fetches(), 0);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn failure_is_shared_with_waiting_and_later_callers() {
    let bench = Bench::always(refusal(40125));
    let cache = bench.own_cache();
    let callers: Vec<_> = (0..50).map(|_| caller(&cache)).collect();
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.api_error().unwrap().errcode().get(), 40125);
        assert!(!format!("{error} {error:?}").contains("SECRET"), "the echoed secret is redacted");
        assert!(error.retry_after().is_some());
    }
    for _ in 0..50 {
        cache.token().await.unwrap_err();
    }
    assert_eq!(bench.fetches(), 1);
    // The cache recovers by itself.
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.advance(30).await;
    assert_eq!(text(&cache).await, "A");
}

/// While the machine is suspended, its monotonic clock stands still and no attempt starts.
#[tokio::test]
async fn failure_from_before_a_suspend_is_not_returned_after_it() {
    for has_token in [true, false] {
        let bench = if has_token { Bench::issuing(&["A"]) } else { Bench::new() };
        bench.weixin.respond_always(TOKEN, refusal(40125));
        let cache = bench.own_cache();
        assert_eq!(cache.token().await.is_ok(), has_token);
        bench.advance(4_000).await;
        assert!(cache.status().failure.is_some());
        bench.weixin.respond_always(TOKEN, token("B"));
        bench.clock.set_forward(seconds(7200));
        assert_eq!(text(&cache).await, "B", "{has_token}");
    }
}

#[tokio::test]
async fn one_busy_response_is_retried_silently() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, refusal(-1));
    bench.weixin.respond_once(TOKEN, token("A"));
    let waiting = caller(&bench.own_cache());
    bench.advance(2).await;
    assert_eq!(waiting.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn busy_weixin_is_an_error_after_three_attempts() {
    let bench = Bench::always(refusal(-1));
    let (cache, weixin) = (bench.own_cache(), bench.weixin.clone());
    let waiting = tokio::spawn(async move { (cache.token().await.unwrap_err(), weixin.count(TOKEN)) });
    bench.advance(5).await;
    let (error, fetches) = waiting.await.unwrap();
    assert_eq!((error.api_error().unwrap().errcode().get(), fetches), (-1, 3));
}

#[tokio::test]
async fn cancelled_caller_leaves_other_callers_waiting() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.own_cache();
    let (waiting, cancelled) = (caller(&cache), caller(&cache));
    bench.advance(1).await;
    cancelled.abort();
    bench.advance(20).await;
    assert_eq!(waiting.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn hanging_refresh_does_not_block_reads() {
    let bench = Bench::issuing_a_then(MockResponse::Hang);
    let (cache, _) = with_token(bench.own_cache()).await;
    for _ in 0..7100 / 10 {
        bench.advance(10).await;
        assert_eq!(served(&cache), "A");
        // The future is ready at its first poll.
        assert!(cache.token().now_or_never().unwrap().is_ok());
    }
    assert!(bench.fetches() > 100, "attempts continue");
    assert!(cache.status().is_in_doubt(cache.now()));
    bench.advance(200).await;
    assert!(cache.current().get().is_none(), "not served after its expiry");
    assert!(matches!(cache.token().await.unwrap_err().kind(), TokenErrorKind::TimedOut));
}

#[tokio::test]
async fn report_gives_new_token_to_all_reporters() {
    let bench = Bench::issuing(&["A", "B"]);
    let (cache, rejected) = with_token(bench.own_cache()).await;
    let evidence = |n| if n % 2 == 0 { Evidence::Observed } else { Evidence::Reported };
    let reporters: Vec<_> = (0..300).map(|n| reporter(&cache, rejected, evidence(n))).collect();
    for reporter in reporters {
        assert_eq!(reporter.await.unwrap().unwrap().token().expose_secret(), "B");
    }
    assert_eq!(cache.refresh(rejected, Evidence::Observed).await.unwrap().token().expose_secret(), "B");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn report_of_unknown_generation_starts_no_fetch() {
    let bench = Bench::always(token("A"));
    let (cache, held) = with_token(bench.own_cache()).await;
    let never = Generation::new(held.get() + 1_000_000_000);
    for evidence in [Evidence::Observed, Evidence::Reported] {
        assert_eq!(cache.refresh(never, evidence).await.unwrap().generation(), held);
    }
    assert_eq!((bench.fetches(), cache.current().get().unwrap().generation()), (1, held));
}

/// An older failure does not resolve the report.
#[tokio::test]
async fn report_waits_for_its_own_attempt() {
    for (step, expected) in
        [(token("B"), Ok("B".to_owned())), (MockResponse::Hang, Err(TokenErrorKind::TimedOut))]
    {
        let bench = Bench::issuing(&["A"]);
        bench.weixin.respond_once(TOKEN, refusal(40243));
        bench.weixin.respond_always(TOKEN, step);
        let (cache, held) = with_token(bench.own_cache()).await;
        while cache.status().failure.is_none() {
            bench.advance(1).await;
        }
        let report = reporter(&cache, held, Evidence::Reported);
        bench.advance(20).await;
        let outcome = report.await.unwrap().map(|issued| issued.token().expose_secret().to_owned());
        assert_eq!(outcome.map_err(|error| error.kind().clone()), expected);
    }
}

/// A later caller gets the remaining retry delay.
#[tokio::test]
async fn retry_after_counts_down() {
    let bench = Bench::always(refusal(40243));
    let cache = bench.own_cache();
    let first = cache.token().await.unwrap_err().retry_after().unwrap();
    bench.advance(3).await;
    let later = cache.token().await.unwrap_err().retry_after().unwrap();
    assert_eq!(first - later, seconds(3));
}

#[tokio::test]
async fn stable_token_is_forced_once_and_then_rate_limited() {
    let bench = Bench::always(token("A"));
    let cache = bench.builder().endpoint(TokenEndpoint::StableToken).build().unwrap();
    let rejected = cache.token().await.unwrap().generation();
    let error = cache.refresh(rejected, Evidence::Observed).await.unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::RejectedTokenReissued { .. }));
    let forced = || {
        let seen = bench.weixin.seen().into_iter().filter(|seen| seen.path == STABLE);
        seen.filter(|seen| String::from_utf8_lossy(&seen.body).contains(r#""force_refresh":true"#)).count()
    };
    bench.advance(580).await;
    assert_eq!(forced(), 1);
    bench.advance(24 * 3600 - 600).await;
    assert_eq!(forced(), 6);
    assert!(cache.current().get().is_none(), "a rejected token is not served");
}

#[tokio::test]
async fn task_ends_with_the_last_handle() {
    let bench = Bench::issuing(&["A"]);
    let (cache, _) = with_token(bench.own_cache()).await;
    drop(cache);
    bench.advance(1).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[test]
fn cache_survives_the_end_of_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench::new();
    let cache = bench.own_cache();
    // Without a runtime: an error, no panic.
    let error = cache.token().now_or_never().unwrap().unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::NoRuntime));
    // The first runtime ends during a fetch.
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    runtime().block_on(async {
        let _waiting = caller(&cache);
        bench.advance(1).await;
    });
    bench.weixin.respond_always(TOKEN, token("A"));
    runtime().block_on(async {
        let waiting = caller(&cache);
        bench.advance(5).await;
        assert_eq!(waiting.await.unwrap().unwrap().token().expose_secret(), "A");
    });
    assert_eq!(bench.fetches(), 2);
    // Reports work, too.
    bench.weixin.respond_always(TOKEN, token("B"));
    let rejected = cache.status().current.unwrap().generation();
    let replacement = runtime().block_on(cache.refresh(rejected, Evidence::Observed)).unwrap();
    assert_eq!(replacement.token().expose_secret(), "B");
}

#[tokio::test]
async fn external_invalidation_is_an_event() {
    let bench = Bench::issuing(&["A", "B"]);
    let (cache, rejected) = with_token(bench.own_cache()).await;
    bench.advance(60).await;
    cache.refresh(rejected, Evidence::Observed).await.unwrap();
    let events = bench.events.lock().unwrap();
    assert!(
        matches!(
            &events[..],
            [
                TokenEvent::Refreshed { .. },
                TokenEvent::Rejected { .. },
                TokenEvent::InvalidatedExternally { .. },
                TokenEvent::Refreshed { .. }
            ]
        ),
        "{events:?}"
    );
}

/// A token service that returns the tokens in turn. It records the requests, and hangs at the end.
#[derive(Debug)]
struct TokenService {
    appid: AppId,
    tokens: Mutex<Vec<&'static str>>,
    requests: Mutex<Vec<(RefreshMode, Option<String>)>>,
    timeouts: AtomicUsize,
}

#[async_trait]
impl TokenUpstream for TokenService {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        UpstreamBehavior::token_service()
    }

    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let rejected = request.rejected.map(|token| token.expose_secret().to_owned());
        self.requests.lock().unwrap().push((request.mode, rejected));
        let next = self.tokens.lock().unwrap().pop();
        match next {
            Some(text) => Ok(FetchedToken::new(text.parse().unwrap(), seconds(7200))),
            None => pending().await,
        }
    }

    fn on_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

/// A service without forced refresh: the rejected token is reported to it, and its return is an error.
#[tokio::test]
async fn token_service_gets_the_rejected_token_and_no_forced_refresh() {
    let clock = Arc::new(ManualClock::new());
    let service = Arc::new(TokenService {
        appid: "wx1".parse().unwrap(),
        tokens: Mutex::new(vec!["B", "A", "A"]),
        requests: Mutex::default(),
        timeouts: AtomicUsize::default(),
    });
    let cache = TokenCache::from_upstream(service.clone()).clock(clock.clone()).jitter_seed(7).build();
    let first = cache.token().await.unwrap();
    let error = cache.refresh(first.generation(), Evidence::Observed).await.unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::RejectedTokenReissued { .. }));
    clock.advance_and_run(seconds(20)).await;
    let second = cache.token().await.unwrap();
    assert_eq!(second.token().expose_secret(), "B");
    assert!(second.generation() > first.generation(), "the cache numbers the tokens");
    let reported = (RefreshMode::Normal, Some("A".to_owned()));
    let expected = [(RefreshMode::Normal, None), reported.clone(), reported];
    assert_eq!(*service.requests.lock().unwrap(), expected);
    // The next fetch hangs and is dropped.
    clock.advance_and_run(seconds(6_950)).await;
    assert!(service.timeouts.load(Ordering::Relaxed) > 0);
    assert!(!cache.status().is_in_doubt(cache.now()), "a fetch invalidates nothing");
}
