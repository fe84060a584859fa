//! Token caches with a working shared store: one of them fetches, and a killed one is replaced.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::Clock;
use wxsub_core::proto::AppId;
use wxsub_core::store::{MemoryStore, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenSource};

const TOKEN: &str = "/cgi-bin/token";

struct Bench {
    clock: Arc<ManualClock>,
    weixin: Arc<MockTransport>,
    store: Arc<MemoryStore>,
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
        let store = Arc::new(MemoryStore::with_clock(clock.clone()));
        Self { clock, weixin: Arc::new(MockTransport::new()), store }
    }

    fn keeper(&self, seed: u64) -> TokenCache {
        TokenCache::builder(app(), "SECRET".parse().unwrap(), self.weixin.clone())
            .clock(self.clock.clone())
            .store(self.store.clone())
            .jitter_seed(seed)
            .build()
    }

    fn fetches(&self) -> usize {
        self.weixin.count(TOKEN)
    }

    async fn pass(&self, span: u64) {
        self.clock.advance_and_run(seconds(span)).await;
    }
}

/// Requests a token from each cache for the first time.
async fn wanted(bench: &Bench, keepers: &[TokenCache]) {
    for keeper in keepers {
        let keeper = keeper.clone();
        tokio::spawn(async move { drop(keeper.token().await) });
    }
    bench.pass(1).await;
}

/// The number of token requests in two minutes of ten caches that share a store, with this response.
async fn asked_in_vain(step: MockResponse) -> usize {
    let bench = Bench::new();
    bench.weixin.respond_always(TOKEN, step);
    let keepers: Vec<_> = (0..10).map(|seed| bench.keeper(seed)).collect();
    wanted(&bench, &keepers).await;
    bench.pass(119).await;
    bench.fetches()
}

#[tokio::test]
async fn failed_fetch_is_not_repeated_by_peers() {
    for step in [
        MockResponse::json(r#"{"errcode":-1,"errmsg":"system error"}"#),
        MockResponse::lose_response(),
        MockResponse::Response(502, "<html>".into()),
    ] {
        let asked = asked_in_vain(step).await;
        assert!((15..=50).contains(&asked), "asked {asked} times in two minutes, ten servers together");
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
    let keepers = [bench.keeper(1), bench.keeper(2)];
    wanted(&bench, &keepers).await;
    bench.pass(2).await;
    assert!(keepers.iter().all(|keeper| keeper.current().get().is_some()), "{keepers:?}");
}

#[tokio::test]
async fn killed_refresher_is_replaced_within_32_seconds() {
    for seed in 0..10 {
        let bench = Bench::new();
        bench.weixin.respond_once(TOKEN, token("A"));
        bench.weixin.respond_once(TOKEN, token("B"));
        let keeper = bench.keeper(seed);
        keeper.token().await.unwrap();
        bench.pass(60 + seed % 2).await;
        // It takes the lease, sets the marker, and is killed.
        assert!(bench.store.acquire_lease(&app(), "who dies", seconds(30)).await.unwrap());
        bench.store.set_in_doubt(&app(), bench.clock.now().wall).await.unwrap();
        bench.pass(29).await;
        assert_eq!(bench.fetches(), 1, "it may still be alive");
        bench.pass(3).await;
        assert_eq!(bench.store.load(&app()).await.unwrap().token.unwrap().token.expose_secret(), "B");
        assert_eq!(bench.fetches(), 2);
    }
}

#[tokio::test]
async fn refused_peer_keeps_its_retry_delay() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.weixin.respond_always(TOKEN, MockResponse::json(r#"{"errcode":40243,"errmsg":"frozen"}"#));
    let keeper = bench.keeper(4);
    keeper.token().await.unwrap();
    while keeper.status().failure.is_none() {
        bench.pass(10).await;
    }
    let before = bench.fetches();
    for _ in 0..20 {
        let since = bench.clock.now().wall;
        bench.store.set_in_doubt(&app(), since).await.unwrap();
        bench.pass(3).await;
        bench.store.clear_in_doubt(&app(), since).await.unwrap();
        bench.pass(27).await;
    }
    assert!(bench.fetches() - before <= 6, "asked {} times in ten minutes", bench.fetches() - before);
}
