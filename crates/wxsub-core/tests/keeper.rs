//! The token cache: one task around the refresh state, in virtual time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::Clock;
use wxsub_core::store::{MemoryStore, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    Evidence, TokenCache, TokenCacheBuilder, TokenEndpoint, TokenErrorKind, TokenSource,
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
    let keeper = bench.builder().build();
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let keeper = keeper.clone();
            tokio::spawn(async move { keeper.token().await.unwrap().token().expose_secret().to_owned() })
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
    let keeper = bench.builder().build();
    bench.clock.advance_and_run(seconds(3600)).await;
    assert!(keeper.current().get().is_none());
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
    let keeper = bench.builder().build();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let keeper = keeper.clone();
            tokio::spawn(async move { keeper.token().await.unwrap_err() })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap();
        assert_eq!(error.api_error().unwrap().errcode().get(), 40125);
        assert!(!format!("{error} {error:?}").contains("SECRET"), "an echoed secret is scrubbed");
        assert!(error.retry_after().is_some());
    }
    assert_eq!(bench.fetches(), 1);
    for _ in 0..50 {
        keeper.token().await.unwrap_err();
    }
    assert_eq!(bench.fetches(), 1);
    // The cache recovers by itself.
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.clock.advance_and_run(seconds(30)).await;
    assert_eq!(keeper.token().await.unwrap().token().expose_secret(), "A");
}

#[tokio::test]
async fn one_busy_response_is_retried_silently() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#));
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.builder().build();
    let asking = tokio::spawn(async move { keeper.token().await });
    bench.clock.advance_and_run(seconds(2)).await;
    assert_eq!(asking.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn busy_weixin_is_an_error_after_three_attempts() {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#));
    let keeper = bench.builder().build();
    let weixin = bench.weixin.clone();
    let asking = tokio::spawn(async move { (keeper.token().await.unwrap_err(), weixin.count(TOKEN)) });
    bench.clock.advance_and_run(seconds(5)).await;
    let (error, fetches) = asking.await.unwrap();
    assert_eq!((error.api_error().unwrap().errcode().get(), fetches), (-1, 3));
}

#[tokio::test]
async fn cancelled_caller_leaves_other_callers_waiting() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.builder().build();
    let patient = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.token().await }
    });
    let hasty = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.token().await }
    });
    bench.clock.advance_and_run(seconds(1)).await;
    hasty.abort();
    bench.clock.advance_and_run(seconds(20)).await;
    assert_eq!(patient.await.unwrap().unwrap().token().expose_secret(), "A");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn hanging_refresh_does_not_block_reads() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let keeper = bench.builder().build();
    keeper.token().await.unwrap();
    for _ in 0..7100 / 10 {
        bench.clock.advance_and_run(seconds(10)).await;
        assert_eq!(keeper.current().get().unwrap().token().expose_secret(), "A");
        // The future is ready at its first poll.
        assert!(futures_util::FutureExt::now_or_never(keeper.token()).unwrap().is_ok());
    }
    assert!(bench.fetches() > 100, "it keeps trying");
    assert!(keeper.status().is_in_doubt(keeper.now()));
    bench.clock.advance_and_run(seconds(200)).await;
    assert!(keeper.current().get().is_none(), "never past its end");
    assert!(matches!(keeper.token().await.unwrap_err().kind(), TokenErrorKind::TimedOut));
}

#[tokio::test]
async fn report_gives_new_token_to_all_reporters() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let keeper = bench.builder().build();
    let dead = keeper.token().await.unwrap().generation();
    let reporters: Vec<_> = (0..300)
        .map(|n| {
            let keeper = keeper.clone();
            let evidence = if n % 2 == 0 { Evidence::Observed } else { Evidence::Reported };
            tokio::spawn(async move {
                keeper.refresh(dead, evidence).await.unwrap().token().expose_secret().to_owned()
            })
        })
        .collect();
    for reporter in reporters {
        assert_eq!(reporter.await.unwrap(), "B");
    }
    assert_eq!(bench.fetches(), 2);
    assert_eq!(keeper.refresh(dead, Evidence::Observed).await.unwrap().token().expose_secret(), "B");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn stable_token_is_forced_once_and_then_rate_limited() {
    const STABLE: &str = "/cgi-bin/stable_token";
    let bench = Bench::new();
    bench.weixin.respond_always(STABLE, token("A"));
    let keeper = bench.builder().endpoint(TokenEndpoint::StableToken).build();
    let dead = keeper.token().await.unwrap().generation();
    let error = keeper.refresh(dead, Evidence::Observed).await.unwrap_err();
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
    assert!(keeper.current().get().is_none(), "what Weixin rejects is not handed out");
}

const DAY: Duration = Duration::from_secs(24 * 3600 - 600);

#[tokio::test]
async fn task_ends_with_the_last_handle() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    let keeper = bench.builder().build();
    keeper.token().await.unwrap();
    let transport = Arc::downgrade(&bench.weixin);
    drop(keeper);
    bench.clock.advance_and_run(seconds(1)).await;
    assert_eq!(transport.strong_count(), 1);
}

#[test]
fn cache_survives_the_end_of_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench::new();
    let keeper = bench.builder().build();
    // Without a runtime: an error, no panic.
    let error = futures_util::FutureExt::now_or_never(keeper.token()).unwrap().unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::NoRuntime));
    // The first runtime ends during a fetch.
    bench.weixin.respond_once(TOKEN, MockResponse::Hang);
    runtime().block_on(async {
        let asking = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.token().await.map(drop) }
        });
        bench.clock.advance_and_run(seconds(1)).await;
        drop(asking);
    });
    bench.weixin.respond_always(TOKEN, token("A"));
    runtime().block_on(async {
        let asking = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.token().await.unwrap().token().expose_secret().to_owned() }
        });
        bench.clock.advance_and_run(seconds(5)).await;
        assert_eq!(asking.await.unwrap(), "A");
    });
    assert_eq!(bench.fetches(), 2);
    // Reports work, too.
    bench.weixin.respond_always(TOKEN, token("B"));
    let dead = keeper.status().current.unwrap().generation();
    let fresh = runtime().block_on(keeper.refresh(dead, Evidence::Observed)).unwrap();
    assert_eq!(fresh.token().expose_secret(), "B");
}

#[tokio::test]
async fn caches_with_shared_store_fetch_once() {
    let bench = Bench::new();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::with_clock(bench.clock.clone()));
    bench.weixin.respond_once(TOKEN, token("A"));
    let keepers: Vec<_> = (0..5).map(|_| bench.builder().store(store.clone()).build()).collect();
    let asking: Vec<_> = keepers
        .iter()
        .cloned()
        .map(|keeper| {
            tokio::spawn(async move { keeper.token().await.unwrap().token().expose_secret().to_owned() })
        })
        .collect();
    bench.clock.advance_and_run(seconds(10)).await;
    for task in asking {
        assert_eq!(task.await.unwrap(), "A");
    }
    assert_eq!(bench.fetches(), 1);
    // A refresh of one cache reaches the others with the next read, within 2 s, and costs one fetch.
    bench.weixin.respond_always(TOKEN, token("B"));
    keepers[0].refresh(keepers[0].token().await.unwrap().generation(), Evidence::Reported).await.unwrap();
    bench.clock.advance_and_run(seconds(3)).await;
    for keeper in &keepers {
        assert_eq!(keeper.current().get().unwrap().token().expose_secret(), "B");
    }
    assert_eq!(bench.fetches(), 2);
}

/// Two caches of one process are two lease holders.
#[tokio::test]
async fn lease_is_not_shared_between_caches() {
    let bench = Bench::new();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::with_clock(bench.clock.clone()));
    bench.weixin.respond_always(TOKEN, MockResponse::Hang);
    let asking = (0..2).map(|_| bench.builder().store(store.clone()).build());
    let asking: Vec<_> = asking.map(|keeper| tokio::spawn(async move { keeper.token().await })).collect();
    bench.clock.advance_and_run(seconds(10)).await;
    assert_eq!(bench.fetches(), 1);
    drop(asking);
}

#[tokio::test]
async fn restart_reuses_stored_token_and_in_doubt_marker() {
    let bench = Bench::new();
    let app = "wx1".parse().unwrap();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::with_clock(bench.clock.clone()));
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.builder().store(store.clone()).build().token().await.unwrap();
    bench.clock.advance_and_run(seconds(600)).await;
    let reborn = bench.builder().store(store.clone()).build();
    let taken_over = reborn.token().await.unwrap();
    assert_eq!((taken_over.token().expose_secret(), bench.fetches()), ("A", 1));
    assert_eq!(taken_over.remaining(bench.clock.now()), seconds(6600));
    drop(reborn);
    // The next process was killed between request and response. Its marker makes the successor retry soon.
    store.set_in_doubt(&app, bench.clock.now().wall).await.unwrap();
    bench.weixin.respond_always(TOKEN, MockResponse::refuse_connection());
    let reborn = bench.builder().store(store.clone()).build();
    assert_eq!(reborn.token().await.unwrap().token().expose_secret(), "A");
    bench.clock.advance_and_run(seconds(250)).await;
    assert!(reborn.status().is_in_doubt(reborn.now()));
    assert!(bench.fetches() > 10);
    bench.weixin.respond_always(TOKEN, token("B"));
    bench.clock.advance_and_run(seconds(16)).await;
    assert_eq!(reborn.token().await.unwrap().token().expose_secret(), "B");
    assert!(!reborn.status().is_in_doubt(reborn.now()));
    assert!(store.load(&app).await.unwrap().in_doubt_since.is_none());
}

#[tokio::test]
async fn external_invalidation_is_an_event() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_once(TOKEN, token("B"));
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let keeper = bench.builder().on_event(move |notice| drop(say.send(format!("{notice:?}")))).build();
    let dead = keeper.token().await.unwrap().generation();
    bench.clock.advance_and_run(seconds(60)).await;
    keeper.refresh(dead, Evidence::Observed).await.unwrap();
    let mut names = Vec::new();
    while let Ok(text) = heard.try_recv() {
        names.push(text.split([' ', '{']).next().unwrap().to_owned());
    }
    assert_eq!(names, ["Refreshed", "Rejected", "InvalidatedExternally", "Refreshed"]);
}

#[tokio::test]
async fn memory_store_passes_the_contract_suite() {
    wxsub_core::testing::store_conformance::run(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn leases_expire() {
    let clock = Arc::new(ManualClock::new());
    let (store, app) = (MemoryStore::with_clock(clock.clone()), "wx1".parse().unwrap());
    assert!(store.acquire_lease(&app, "one", seconds(30)).await.unwrap());
    clock.advance(seconds(29));
    assert!(!store.acquire_lease(&app, "two", seconds(30)).await.unwrap());
    clock.advance(seconds(1));
    assert!(store.acquire_lease(&app, "two", seconds(30)).await.unwrap());
}
