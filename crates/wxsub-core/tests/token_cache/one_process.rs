//! The token cache: one task around the refresh state, in virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::proto::AppId;
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    Evidence, FetchedToken, RefreshMode, TokenCache, TokenCacheBuilder, TokenEndpoint, TokenErrorKind,
    TokenSource, TokenUpstream, UpstreamBehavior, UpstreamRequest,
};

const TOKEN: &str = "/cgi-bin/token";

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
}

fn token(text: &str) -> MockResponse {
    MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Bench {
    fn new() -> Self {
        Self { clock: Arc::new(ManualClock::new()), weixin: Arc::new(MockTransport::new()) }
    }

    fn builder(&self) -> TokenCacheBuilder {
        let transport: Arc<MockTransport> = Arc::clone(&self.weixin);
        TokenCache::builder("wx1".parse().unwrap(), "SECRET".parse().unwrap(), transport)
            .clock(self.clock.clone())
            .jitter_seed(7)
    }

    fn fetches(&self) -> usize {
        self.weixin.count(TOKEN)
    }
}

#[tokio::test]
async fn ten_thousand_callers_of_an_empty_cache_cost_one_fetch() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.builder().build();
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.token().await.unwrap().token().expose_secret().to_owned() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "A");
    }
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn no_fetch_before_the_first_request() {
    let bench = Bench::new();
    let cache = bench.builder().build();
    bench.clock.advance_and_run(seconds(3600)).await;
    assert!(cache.current().get().is_none());
    assert_eq!(bench.fetches(), 0);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn failure_is_shared_with_waiting_and_later_callers() {
    let bench = Bench::new();
    bench.weixin.respond_always(
        TOKEN,
        MockResponse::json(r#"{"errcode":40125,"errmsg":"invalid appsecret SECRET rid: x"}"#),
    );
    let cache = bench.builder().build();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.token().await.unwrap_err() })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap();
        assert_eq!(error.api_error().unwrap().errcode().get(), 40125);
        assert!(!format!("{error} {error:?}").contains("SECRET"), "the echoed secret is redacted");
        assert!(error.retry_after().is_some());
    }
    assert_eq!(bench.fetches(), 1);
    for _ in 0..50 {
        cache.token().await.unwrap_err();
    }
    assert_eq!(bench.fetches(), 1);
    // The cache recovers by itself.
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.clock.advance_and_run(seconds(30)).await;
    assert_eq!(cache.token().await.unwrap().token().expose_secret(), "A");
}

#[tokio::test]
async fn one_busy_response_is_retried_silently() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#));
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.builder().build();
    let waiting = tokio::spawn(async move { cache.token().await });
    bench.clock.advance_and_run(seconds(2)).await;
    assert_eq!(waiting.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn busy_weixin_is_an_error_after_three_attempts() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#));
    let cache = bench.builder().build();
    let weixin = bench.weixin.clone();
    let waiting = tokio::spawn(async move { (cache.token().await.unwrap_err(), weixin.count(TOKEN)) });
    bench.clock.advance_and_run(seconds(5)).await;
    let (error, fetches) = waiting.await.unwrap();
    assert_eq!((error.api_error().unwrap().errcode().get(), fetches), (-1, 3));
}

#[tokio::test]
async fn cancelled_caller_leaves_other_callers_waiting() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.builder().build();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.token().await }
    });
    let cancelled = tokio::spawn({
        let cache = cache.clone();
        async move { cache.token().await }
    });
    bench.clock.advance_and_run(seconds(1)).await;
    cancelled.abort();
    bench.clock.advance_and_run(seconds(20)).await;
    assert_eq!(waiting.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn hanging_refresh_does_not_block_reads() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let cache = bench.builder().build();
    cache.token().await.unwrap();
    for _ in 0..7100 / 10 {
        bench.clock.advance_and_run(seconds(10)).await;
        assert_eq!(cache.current().get().unwrap().token().expose_secret(), "A");
        // The future is ready at its first poll.
        assert!(futures_util::FutureExt::now_or_never(cache.token()).unwrap().is_ok());
    }
    assert!(bench.fetches() > 100, "attempts continue");
    assert!(cache.status().is_in_doubt(cache.now()));
    bench.clock.advance_and_run(seconds(200)).await;
    assert!(cache.current().get().is_none(), "not served after its expiry");
    assert!(matches!(cache.token().await.unwrap_err().kind(), TokenErrorKind::TimedOut));
}

#[tokio::test]
async fn report_gives_new_token_to_all_reporters() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let cache = bench.builder().build();
    let rejected = cache.token().await.unwrap().generation();
    let reporters: Vec<_> = (0..300)
        .map(|n| {
            let cache = cache.clone();
            let evidence = if n % 2 == 0 { Evidence::Observed } else { Evidence::Reported };
            tokio::spawn(async move {
                cache.refresh(rejected, evidence).await.unwrap().token().expose_secret().to_owned()
            })
        })
        .collect();
    for reporter in reporters {
        assert_eq!(reporter.await.unwrap(), "B");
    }
    assert_eq!(bench.fetches(), 2);
    assert_eq!(cache.refresh(rejected, Evidence::Observed).await.unwrap().token().expose_secret(), "B");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn stable_token_is_forced_once_and_then_rate_limited() {
    const STABLE: &str = "/cgi-bin/stable_token";
    let bench = Bench::new();
    bench.weixin.respond_always(STABLE, token("A"));
    let cache = bench.builder().endpoint(TokenEndpoint::StableToken).build();
    let rejected = cache.token().await.unwrap().generation();
    let error = cache.refresh(rejected, Evidence::Observed).await.unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::RejectedTokenReissued));
    bench.clock.advance_and_run(seconds(580)).await;
    let forced = || {
        let seen = bench.weixin.seen();
        seen.iter()
            .filter(|seen| String::from_utf8_lossy(&seen.body).contains(r#""force_refresh":true"#))
            .count()
    };
    assert_eq!(forced(), 1);
    bench.clock.advance_and_run(DAY).await;
    assert_eq!(forced(), 6);
    assert!(cache.current().get().is_none(), "a rejected token is not served");
}

const DAY: Duration = Duration::from_secs(24 * 3600 - 600);

#[tokio::test]
async fn task_ends_with_the_last_handle() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let cache = bench.builder().build();
    cache.token().await.unwrap();
    let transport = Arc::downgrade(&bench.weixin);
    drop(cache);
    bench.clock.advance_and_run(seconds(1)).await;
    assert_eq!(transport.strong_count(), 1);
}

#[test]
fn cache_survives_the_end_of_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench::new();
    let cache = bench.builder().build();
    // Without a runtime: an error, no panic.
    let error = futures_util::FutureExt::now_or_never(cache.token()).unwrap().unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::NoRuntime));
    // The first runtime ends during a fetch.
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    runtime().block_on(async {
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.token().await.map(drop) }
        });
        bench.clock.advance_and_run(seconds(1)).await;
        drop(waiting);
    });
    bench.weixin.respond_always(TOKEN, token("A"));
    runtime().block_on(async {
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.token().await.unwrap().token().expose_secret().to_owned() }
        });
        bench.clock.advance_and_run(seconds(5)).await;
        assert_eq!(waiting.await.unwrap(), "A");
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
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let cache = bench.builder().on_event(move |event| drop(sender.send(format!("{event:?}")))).build();
    let rejected = cache.token().await.unwrap().generation();
    bench.clock.advance_and_run(seconds(60)).await;
    cache.refresh(rejected, Evidence::Observed).await.unwrap();
    let mut names = Vec::new();
    while let Ok(text) = receiver.try_recv() {
        names.push(text.split([' ', '{']).next().unwrap().to_owned());
    }
    assert_eq!(names, ["Refreshed", "Rejected", "InvalidatedExternally", "Refreshed"]);
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
            None => std::future::pending().await,
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
    assert!(matches!(error.kind(), TokenErrorKind::RejectedTokenReissued));
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
