//! Peers, leases, notifications, conflicting records, and a store that is unavailable, slow, or has lost its records.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::{BaseUrl, Remedy};
use wxsub_core::store::{LeaseOutcome, MemoryStore, StoreErrorKind, StoredToken, TokenStore};
use wxsub_core::testing::{MockResponse, store_conformance};
use wxsub_core::token::{
    Evidence, Generation, TokenCache, TokenEndpoint, TokenErrorKind, TokenEvent, TokenOrigin, TokenSource,
};

use super::harness::{
    Bench, Fault, STABLE, TOKEN, app, caller, refusal, seconds, served, text, token, with_token,
};

/// Requests a token from each cache for the first time.
async fn request_first_tokens(bench: &Bench, caches: &[TokenCache]) {
    let _waiting: Vec<_> = caches.iter().map(caller).collect();
    bench.advance(1).await;
}

#[tokio::test]
async fn caches_with_shared_store_fetch_once() {
    let bench = Bench::issuing(&["A"]);
    let caches: Vec<_> = (0..5).map(|_| bench.cache(7)).collect();
    let waiting: Vec<_> = caches.iter().map(caller).collect();
    bench.advance(10).await;
    for caller in waiting {
        assert_eq!(caller.await.unwrap().unwrap().token().expose_secret(), "A");
    }
    assert_eq!(bench.fetches(), 1);
    // A refresh of one cache reaches the others with the next read, within 2 s, and costs one fetch.
    bench.weixin.respond_always(TOKEN, token("B"));
    caches[0].refresh(caches[0].token().await.unwrap().generation(), Evidence::Reported).await.unwrap();
    bench.advance(3).await;
    for cache in &caches {
        assert_eq!(served(cache), "B");
    }
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn restart_reuses_stored_token_and_in_doubt_marker() {
    let bench = Bench::issuing(&["A"]);
    bench.cache(7).token().await.unwrap();
    bench.advance(600).await;
    let restarted = bench.cache(7);
    let adopted = restarted.token().await.unwrap();
    assert_eq!((adopted.token().expose_secret(), bench.fetches()), ("A", 1));
    assert_eq!(adopted.remaining(bench.clock.now()), seconds(6600));
    drop(restarted);
    // The next process was killed between request and response. Its marker makes the successor retry soon.
    bench.set_in_doubt().await;
    bench.weixin.respond_always(TOKEN, MockResponse::refuse_connection());
    let restarted = bench.cache(7);
    assert_eq!(text(&restarted).await, "A");
    bench.advance(250).await;
    assert!(restarted.status().is_in_doubt(restarted.now()));
    assert!(bench.fetches() > 10);
    bench.weixin.respond_always(TOKEN, token("B"));
    bench.advance(16).await;
    assert_eq!(text(&restarted).await, "B");
    assert!(!restarted.status().is_in_doubt(restarted.now()));
    assert!(bench.record().await.in_doubt_since.is_none());
}

#[tokio::test]
async fn failed_fetch_is_not_repeated_by_peers() {
    for response in [refusal(-1), MockResponse::lose_response(), MockResponse::Response(502, "<html>".into())]
    {
        let bench = Bench::always(response);
        let caches: Vec<_> = (0..10).map(|seed| bench.cache(seed)).collect();
        request_first_tokens(&bench, &caches).await;
        bench.advance(119).await;
        let fetches = bench.fetches();
        assert!((15..=50).contains(&fetches), "{fetches} fetches of ten caches in two minutes");
    }
}

#[tokio::test]
async fn refusal_of_one_peer_lets_others_try_at_once() {
    let bench = Bench::new();
    bench.weixin.respond_once(TOKEN, refusal(40164));
    bench.weixin.respond_once(TOKEN, token("A"));
    let caches = [bench.cache(1), bench.cache(2)];
    request_first_tokens(&bench, &caches).await;
    bench.advance(2).await;
    assert!(caches.iter().all(|cache| cache.current().get().is_some()), "{caches:?}");
}

#[tokio::test]
async fn refused_peer_keeps_its_retry_delay() {
    let bench = Bench::issuing_a_then(refusal(40243));
    let (cache, _) = with_token(bench.cache(4)).await;
    while cache.status().failure.is_none() {
        bench.advance(10).await;
    }
    let before = bench.fetches();
    for _ in 0..20 {
        let since = bench.set_in_doubt().await;
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
    let [one, two] =
        [1, 2].map(|seed| bench.builder().store(store.clone()).jitter_seed(seed).build().unwrap());
    let first = one.token().await.unwrap().generation();
    assert_eq!(two.token().await.unwrap().generation(), first);
    one.refresh(first, Evidence::Reported).await.unwrap();
    // Time does not advance here.
    bench.advance(0).await;
    assert_eq!(served(&two), "B");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn false_notification_costs_one_read() {
    let bench = Bench::issuing(&["A"]);
    let _cache = with_token(bench.cache(7)).await;
    bench.advance(10).await;
    let before = bench.store.reads();
    bench.store.watcher.notify(&app());
    bench.advance(5).await;
    assert_eq!(bench.store.reads() - before, 1);
}

/// However many apps there are, the log is read once in 2 s, and one record for each of these reads at most.
#[tokio::test]
async fn idle_caches_share_one_read_of_the_log() {
    for apps in [1, 10, 200] {
        let bench = Bench::always(token("A"));
        let caches: Vec<_> = (0..apps)
            .map(|number| {
                let builder = TokenCache::builder(format!("wx{number}"), "SECRET", bench.weixin.clone());
                builder.clock(bench.clock.clone()).store(bench.store.clone()).build().unwrap()
            })
            .collect();
        request_first_tokens(&bench, &caches).await;
        bench.advance(60).await;
        let counts = || (bench.store.log_reads.load(Ordering::Relaxed), bench.store.reads());
        let (log_reads, reads) = counts();
        bench.advance(120).await;
        let (log_reads_after, reads_after) = counts();
        assert_eq!(log_reads_after - log_reads, 60, "{apps} apps");
        assert!(reads_after - reads <= 60.min(2 * apps), "{apps} apps: {} reads", reads_after - reads);
    }
}

/// The record disappears, and the log does not say so. The cache finds out within a minute, as long as there are few apps.
#[tokio::test]
async fn unlogged_loss_of_a_record_is_found() {
    let bench = Bench::issuing(&["A"]);
    let (_cache, held) = with_token(bench.cache(7)).await;
    bench.advance(10).await;
    bench.store.lose_records_silently();
    bench.advance(70).await;
    assert_eq!((bench.record().await.generation(), bench.fetches()), (held, 1));
}

/// All apps read their records at once when changes may have been missed, but not more than 500 of them.
#[tokio::test]
async fn log_that_was_lost_leads_to_a_look_at_each_record() {
    let bench = Bench::always(token("A"));
    let caches = [bench.cache(1), bench.cache(2)];
    request_first_tokens(&bench, &caches).await;
    bench.advance(10).await;
    let before = bench.store.reads();
    bench.store.lose_records();
    bench.advance(2).await;
    assert!(bench.store.reads() > before);
    assert_ne!(bench.record().await.generation(), Generation::default());
    assert_eq!(bench.fetches(), 1);
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
        assert_eq!(text(&cache).await, "PEER");
        assert_eq!(cache.status().in_doubt_from.is_some(), in_doubt);
        bench.store.set_fault(Fault::None);
        bench.advance(6).await;
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
        assert_eq!(text(&cache).await, "A");
        assert_eq!(bench.store.writes.load(Ordering::Relaxed), writes, "{fault:?}");
    }
}

/// The store shows the token before it confirms the write.
#[tokio::test]
async fn own_token_is_not_adopted() {
    let bench = Bench::issuing(&["A", "B"]);
    let (cache, first) = with_token(bench.cache(7)).await;
    bench.store.set_fault(Fault::SlowWrites);
    let (refreshed, ()) = tokio::join!(cache.refresh(first, Evidence::Reported), bench.advance(5));
    assert_eq!(refreshed.unwrap().token().expose_secret(), "B");
    assert_eq!(bench.origins(), [TokenOrigin::Fetched; 2]);
}

/// Its runtime ends before the store confirms the write. After several failures, the next attempt comes late.
#[test]
fn token_of_a_dropped_attempt_is_found_in_the_store() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench::new();
    (0..6).for_each(|_| bench.weixin.respond_once(TOKEN, refusal(-1)));
    bench.weixin.respond_once(TOKEN, token("A"));
    bench.store.set_fault(Fault::SlowWrites);
    let cache = bench.cache(7);
    runtime().block_on(async {
        let _waiting = caller(&cache);
        while bench.store.writes.load(Ordering::Relaxed) == 0 {
            bench.clock.advance_and_run(Duration::from_millis(100)).await;
        }
    });
    runtime().block_on(async {
        assert!(cache.current().get().is_none());
        bench.advance(0).await;
        assert_eq!((served(&cache), bench.fetches()), ("A".to_owned(), 7));
    });
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
        let (outcome, ()) = tokio::join!(cache.token(), bench.advance(5));
        assert!(outcome.is_err());
        assert_eq!(bench.record().await.in_doubt_since.is_some(), marked);
    }
}

#[tokio::test]
async fn start_without_store_uses_fallback_token() {
    let (bench, cache) = bench_with_fault(TokenEndpoint::Token, Fault::Unavailable);
    let requested_at = UnixMillis::new(1_780_000_000_000);
    let known =
        StoredToken::new("FALLBACK".parse().unwrap(), Generation::new(1), requested_at, seconds(7200));
    bench.store.store().compare_and_set(&app(), Generation::default(), known).await.unwrap();
    assert_eq!((text(&cache).await, bench.fetches()), ("FALLBACK".to_owned(), 0));
}

#[tokio::test]
async fn slow_store_has_one_read_in_flight() {
    let (bench, cache) = bench_with_fault(TokenEndpoint::Token, Fault::None);
    bench.weixin.respond_once(TOKEN, token("A"));
    cache.token().await.unwrap();
    bench.store.set_fault(Fault::Hang);
    let before = bench.store.reads();
    bench.advance(2).await;
    for _ in 0..5 {
        // Wakes the task without a fetch.
        cache.refresh(Generation::new(1), Evidence::Reported).await.unwrap();
    }
    bench.advance(1).await;
    assert_eq!(bench.store.reads() - before, 1);
}

#[tokio::test]
async fn start_without_store_waits_a_lease_and_fetches() {
    let bench = Bench::issuing(&["A"]);
    bench.store.set_fault(Fault::Unavailable);
    let cache = bench.cache(1);
    let error = cache.token().await.unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::StoreUnavailable(_)), "{error}");
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
        events.iter().filter(|event| matches!(event, TokenEvent::StoreUnavailable { .. })).count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn stable_token_needs_no_store() {
    let bench = Bench::always(token("A"));
    bench.store.set_fault(Fault::Unavailable);
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
    assert!(matches!(error.kind(), TokenErrorKind::StoreUnavailable(_)), "{error}");
    assert_eq!((text(&cache).await, bench.fetches()), ("A".to_owned(), 1));
}

/// Two caches fetch without lease, the second a second later or in the same millisecond. Then the store recovers, which
/// needs one more fetch.
#[tokio::test]
async fn two_unleased_fetches_agree_on_a_third_token() {
    for later in [1, 0] {
        let bench = Bench::issuing(&["A", "B", "C"]);
        bench.store.set_fault(Fault::Unavailable);
        let (one, two) = (bench.cache(6), bench.cache(7));
        assert!(one.token().await.is_err());
        bench.advance(later).await;
        assert!(two.token().await.is_err());
        bench.advance(35).await;
        assert_ne!(text(&one).await, text(&two).await);
        bench.store.set_fault(Fault::None);
        bench.advance(15).await;
        assert_eq!((text(&one).await, text(&two).await), ("C".to_owned(), "C".to_owned()), "{later} s later");
        bench.advance(600).await;
        assert_eq!(bench.fetches(), 3, "{later} s later");
    }
}

/// A cache with a clock that is ahead fetches without the store. A peer fetches later, and stores its token under a lower
/// generation. When the store is back, the later request counts, even if no other fetch is possible.
#[tokio::test]
async fn later_request_of_a_peer_counts_despite_its_lower_generation() {
    let bench = Bench::issuing_a_then(MockResponse::refuse_connection());
    bench.store.set_fault(Fault::Unavailable);
    let cache = bench.cache(1);
    assert!(cache.token().await.is_err());
    bench.advance(33).await;
    let own = cache.token().await.unwrap().generation();
    bench.clock.set_back(seconds(159));
    bench.advance(60).await;
    let now = bench.clock.now().wall;
    bench.store.store_peer_token(Generation::default(), Generation::new(now.get()), now).await;
    bench.store.set_fault(Fault::None);
    bench.advance(4).await;
    assert_eq!(served(&cache), "PEER");
    let record = bench.record().await;
    assert_eq!(record.token.as_ref().unwrap().token.expose_secret(), "PEER");
    assert!(record.generation() > own);
}

/// The clock of the peer is ahead, and its earlier token is stored under a higher generation.
#[tokio::test]
async fn later_request_without_lease_counts_despite_its_lower_generation() {
    let bench = Bench::issuing_a_then(MockResponse::refuse_connection());
    bench.store.set_fault(Fault::Unavailable);
    let (cache, start) = (bench.cache(1), bench.clock.now().wall);
    assert!(cache.token().await.is_err());
    bench.advance(33).await;
    assert_eq!(text(&cache).await, "A");
    let ahead = Generation::new((start + seconds(159)).get());
    bench.store.store_peer_token(Generation::default(), ahead, start).await;
    bench.store.set_fault(Fault::None);
    bench.advance(4).await;
    assert_eq!(served(&cache), "A");
    let record = bench.record().await;
    assert_eq!(record.token.as_ref().unwrap().token.expose_secret(), "A");
    assert!(record.generation() > ahead && cache.status().in_doubt_from.is_some());
}

/// The store has lost its records, and a peer fetches while this cache tries to store its token.
#[tokio::test]
async fn lost_race_adopts_a_later_request_of_lower_generation() {
    let bench = Bench::issuing(&["A", "B"]);
    let (cache, first) = with_token(bench.cache(1)).await;
    bench.store.lose_records();
    bench.store.set_fault(Fault::PeerFetchesFirst);
    let refreshed = cache.refresh(first, Evidence::Reported).await.unwrap();
    assert_eq!(refreshed.token().expose_secret(), "PEER");
    assert_eq!(bench.record().await.generation(), refreshed.generation());
    assert!(cache.status().in_doubt_from.is_some());
}

#[tokio::test]
async fn lost_records_are_published_again_without_a_fetch() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.cache(8);
    let first = cache.token().await.unwrap();
    bench.store.lose_records();
    bench.advance(3).await;
    assert_eq!(bench.record().await.generation(), first.generation());
    assert_eq!(bench.fetches(), 1);
}

/// The store has lost its records, and a peer fetches. Publishing the token leaves the marker of the peer, which crashes.
#[tokio::test]
async fn published_token_keeps_the_marker_of_a_running_fetch() {
    let bench = Bench::issuing(&["A", "B"]);
    let (cache, _) = with_token(bench.cache(1)).await;
    bench.advance(1).await;
    bench.store.lose_records();
    bench.store.store().acquire_lease(&app(), "crashed", seconds(6)).await.unwrap();
    bench.set_in_doubt().await;
    bench.advance(3).await;
    let record = bench.record().await;
    assert_eq!(record.token.unwrap().token.expose_secret(), "A");
    assert!(record.in_doubt_since.is_some());
    bench.advance(7).await;
    assert_eq!(served(&cache), "B");
}

/// The response of the store to the write of a token is lost. No marker of the fetch stays.
#[tokio::test]
async fn published_token_clears_the_marker_of_its_own_fetch() {
    let bench = Bench::issuing(&["A"]);
    bench.store.set_fault(Fault::FailNextWrite);
    let cache = bench.cache(1);
    assert_eq!(text(&cache).await, "A");
    bench.advance(60).await;
    let record = bench.record().await;
    assert_eq!(record.token.unwrap().token.expose_secret(), "A");
    assert_eq!((record.in_doubt_since, bench.fetches()), (None, 1));
}

#[tokio::test]
async fn wall_clock_set_back_makes_no_token_younger() {
    let bench = Bench::issuing(&["A"]);
    let _cache = with_token(bench.cache(10)).await;
    bench.advance(1800).await;
    bench.clock.set_back(seconds(600));
    bench.store.lose_records();
    bench.advance(3).await;
    let stored = bench.record().await.token.unwrap();
    let left = stored.to_cached(bench.clock.now()).remaining(bench.clock.now());
    assert!(left <= seconds(7200 - 1800), "{left:?}");
}

#[tokio::test]
async fn memory_store_passes_the_conformance_suite() {
    store_conformance::run(|| Arc::new(MemoryStore::new())).await;
    store_conformance::run_shared(|| {
        let store = Arc::new(MemoryStore::new());
        [Arc::clone(&store) as Arc<dyn TokenStore>, store]
    })
    .await;
}

/// The lease holder replaces it, with one fetch of all peers.
#[tokio::test]
async fn broken_record_is_replaced_once() {
    let bench = Bench::issuing(&["A", "B"]);
    let caches: Vec<_> = (0..3).map(|seed| bench.cache(seed)).collect();
    request_first_tokens(&bench, &caches).await;
    bench.store.set_fault(Fault::BrokenRecord);
    bench.advance(15).await;
    for cache in &caches {
        assert_eq!((served(cache).as_str(), cache.status().store_problem), ("B", None));
    }
    assert_eq!(bench.fetches(), 2);
}

/// The base URL of another upstream.
fn other_base() -> BaseUrl {
    BaseUrl::insecure("http://127.0.0.1:8080").unwrap()
}

/// Two upstreams under one prefix: neither adopts the token of the other, and neither waits for the other.
#[tokio::test]
async fn record_of_another_upstream_is_refused_until_it_has_expired() {
    let bench = Bench::issuing(&["A", "B", "C"]);
    let token_a = bench.cache(1).token().await.unwrap();
    bench.advance(5).await;
    let other = bench.builder().store(bench.store.clone()).api_base(other_base()).build().unwrap();
    let (served, ()) = tokio::join!(text(&other), bench.advance(1));
    assert_eq!(served, "B");
    assert_eq!(other.status().store_problem.unwrap().error.kind(), StoreErrorKind::OtherUpstream);
    let stored = bench.record().await.token.unwrap();
    assert!(stored.token.ct_eq(token_a.token()), "the record stays");
    assert!(matches!(
        bench.store.acquire_lease(&app(), "peer", seconds(6)).await.unwrap(),
        LeaseOutcome::Acquired
    ));
    bench.advance(7300).await;
    let stored = bench.record().await.token.unwrap();
    assert_eq!(stored.token.expose_secret(), "C", "the first token has expired");
    assert!(other.status().store_problem.is_none());
}

/// Its fetch invalidates no token of the record, whatever becomes of the response.
#[tokio::test]
async fn fetch_from_another_upstream_leaves_the_record_alone() {
    let bench = Bench::issuing_a_then(MockResponse::lose_response());
    bench.cache(1).token().await.unwrap();
    let other = bench.builder().store(bench.store.clone()).api_base(other_base()).build().unwrap();
    let _waiting = caller(&other);
    bench.advance(40).await;
    assert!(bench.fetches() > 1, "it fetches");
    assert_eq!(bench.record().await.in_doubt_since, None);
}

/// A token of one endpoint is valid whichever endpoint is configured, so a changed `token_endpoint` fails no read.
#[tokio::test]
async fn changed_endpoint_serves_the_stored_token() {
    use TokenEndpoint::{StableToken, Token};
    for (before, after, refreshed) in [(StableToken, Token, 4000), (Token, StableToken, 6960)] {
        let bench = Bench::always(token("A"));
        assert_eq!(text(&bench.cache_of(before, 1)).await, "A");
        bench.weixin.respond_always(TOKEN, token("B"));
        bench.weixin.respond_always(STABLE, token("B"));
        let changed = bench.cache_of(after, 2);
        assert_eq!((text(&changed).await.as_str(), bench.fetches()), ("A", 1));
        bench.advance(3).await;
        let problem = changed.status().store_problem.unwrap().error;
        assert_eq!((problem.kind(), problem.remedy()), (StoreErrorKind::OtherEndpoint, Remedy::RetryLater));
        // The next refresh uses the endpoint of now, and replaces the record.
        bench.advance(refreshed).await;
        assert_eq!((served(&changed).as_str(), bench.fetches()), ("B", 2));
        bench.advance(3).await;
        assert!(changed.status().store_problem.is_none());
        assert_eq!(bench.record().await.token.unwrap().token.expose_secret(), "B");
    }
}

/// Two servers with different endpoints share the token. They cost no more than two with the same endpoint.
#[tokio::test]
async fn two_endpoints_of_one_app_cost_no_extra_fetch() {
    let bench = Bench::issuing(&["T1", "T2", "T3", "T4", "T5", "T6"]);
    ["S1", "S2", "S3", "S4"].iter().for_each(|text| bench.weixin.respond_once(STABLE, token(text)));
    let (classic, _) = with_token(bench.cache(1)).await;
    let stable = bench.cache_of(TokenEndpoint::StableToken, 2);
    for _ in 0..4 {
        bench.advance(3600).await;
        assert_eq!(text(&classic).await, text(&stable).await);
    }
    let (fetches, stable_fetches) = (bench.weixin.count(TOKEN), bench.weixin.count(STABLE));
    assert!((4..=6).contains(&fetches) && stable_fetches == 0, "{fetches} and {stable_fetches} fetches");
}
