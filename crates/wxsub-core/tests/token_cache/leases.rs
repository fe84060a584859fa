//! The lease: who gets it, how long, and that each end of an attempt releases it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wxsub_core::store::{LeaseOutcome, MemoryStore, StoreErrorKind, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse};
use wxsub_core::token::{Evidence, TokenEndpoint, TokenSource};

use super::harness::{
    Bench, Fault, FaultyStore, TOKEN, app, caller, refusal, reporter, seconds, text, token, with_token,
};

/// However an attempt ends, a peer can take the lease at once. After a failure that peers would share, they back off.
#[tokio::test]
async fn each_end_of_an_attempt_releases_the_lease() {
    for endpoint in [TokenEndpoint::Token, TokenEndpoint::StableToken] {
        for (response, fault, is_kept) in [
            (token("A"), Fault::None, false),
            (refusal(40164), Fault::None, false),
            (MockResponse::refuse_connection(), Fault::None, false),
            (refusal(-1), Fault::None, true),
            (token("A"), Fault::PeerWritesFirst(seconds(7200)), false),
            (token("A"), Fault::PeerFetchesFirst, false),
            (token("A"), Fault::RejectWrites, false),
            (token("A"), Fault::UnreadableUnderLease, false),
            (token("A"), Fault::PeerStoresBeforeLease, false),
        ] {
            let bench = Bench::always(response.clone());
            bench.store.set_fault(fault);
            let _waiting = caller(&bench.cache_of(endpoint, 1));
            bench.advance(0).await;
            assert_ne!(bench.store.leases.load(Ordering::Relaxed), 0, "{endpoint:?} {response:?} {fault:?}");
            let peer = bench.store.store().acquire_lease(&app(), "peer", seconds(6)).await.unwrap();
            assert_eq!(peer != LeaseOutcome::Acquired, is_kept, "{endpoint:?} {response:?} {fault:?}");
        }
    }
}

/// Two caches of one process are two lease holders.
#[tokio::test]
async fn lease_is_not_shared_between_caches() {
    let bench = Bench::always(MockResponse::Hang);
    let _waiting = [caller(&bench.cache(7)), caller(&bench.cache(7))];
    bench.advance(10).await;
    assert_eq!(bench.fetches(), 1);
}

/// While a machine is suspended, its monotonic clock stands still.
#[tokio::test]
async fn suspension_while_taking_the_lease_prevents_the_fetch() {
    for is_machine in [false, true] {
        let bench = Bench::issuing(&["A"]);
        if is_machine {
            bench.store.set_fault(Fault::SuspendUnderLease(seconds(25)));
        } else {
            *bench.store.lease_duration.lock().unwrap() = seconds(25);
        }
        let cache = bench.cache(9);
        let waiting = caller(&cache);
        bench.clock.advance_and_run(Duration::from_millis(10)).await;
        assert_eq!(bench.fetches(), 0, "the lease may have expired");
        assert_eq!(bench.record().await.in_doubt_since, None, "nothing was requested");
        bench.advance(3).await;
        assert_eq!((waiting.await.unwrap().is_ok(), bench.fetches()), (true, 1));
    }
}

/// A lease without end, or one that is longer than any server takes it.
#[tokio::test]
async fn lease_that_is_too_long_delays_no_fetch() {
    for endpoint in [TokenEndpoint::Token, TokenEndpoint::StableToken] {
        let bench = Bench::always(token("A"));
        bench.store.acquire_lease(&app(), "restored", seconds(3600)).await.unwrap();
        let waiting = caller(&bench.cache_of(endpoint, 1));
        bench.advance(0).await;
        assert!(waiting.is_finished(), "{endpoint:?}");
    }
}

#[tokio::test]
async fn leases_expire() {
    let clock = Arc::new(ManualClock::new());
    let (store, app) = (MemoryStore::with_clock(clock.clone()), app());
    let acquire = async |holder| store.acquire_lease(&app, holder, seconds(30)).await.unwrap();
    assert_eq!(acquire("one").await, LeaseOutcome::Acquired);
    clock.advance(seconds(29));
    assert_eq!(acquire("two").await, LeaseOutcome::HeldBy("one".to_owned()));
    clock.advance(seconds(1));
    assert_eq!(acquire("two").await, LeaseOutcome::Acquired);
}

/// A server that cannot read the record does not take the lease, so a healthy peer never waits for it.
#[tokio::test]
async fn server_that_cannot_read_does_not_delay_peers() {
    let bench = Bench::always(token("A"));
    let (healthy, mut held) = with_token(bench.cache(1)).await;
    let blind_store = Arc::new(FaultyStore::sharing(&bench.clock, bench.store.store()));
    blind_store.set_fault(Fault::Unreadable);
    let blind = bench.cache_with(TokenEndpoint::Token, 2, blind_store);
    let _waiting = caller(&blind);
    for round in 0..5 {
        bench.advance(61).await;
        bench.weixin.respond_always(TOKEN, token(&format!("B{round}")));
        let refreshed = reporter(&healthy, held, Evidence::Observed);
        bench.advance(1).await;
        assert!(refreshed.is_finished(), "round {round}: the healthy server waits for the lease");
        held = refreshed.await.unwrap().unwrap().generation();
    }
    let problem = blind.status().store_problem.unwrap();
    assert_eq!(problem.error.kind(), StoreErrorKind::EncryptionKey);
}

/// The lease is shorter than a slow fetch, and its holder renews it.
#[tokio::test]
async fn slow_fetch_keeps_its_lease() {
    let bench = Bench::always(MockResponse::Hang);
    let _waiting = [caller(&bench.cache(1)), caller(&bench.cache(2))];
    bench.advance(14).await;
    assert_eq!(bench.fetches(), 1, "the peer waits");
}

#[tokio::test]
async fn closing_during_a_fetch_releases_the_lease() {
    let bench = Bench::always(MockResponse::Hang);
    let cache = bench.cache(1);
    let waiting = caller(&cache);
    bench.advance(1).await;
    waiting.abort();
    let acquire = async || bench.store.acquire_lease(&app(), "peer", seconds(6)).await.unwrap();
    assert!(matches!(acquire().await, LeaseOutcome::HeldBy(_)));
    let closing = tokio::spawn(async move { cache.close().await });
    bench.advance(6).await;
    assert!(closing.is_finished());
    assert_eq!(acquire().await, LeaseOutcome::Acquired);
}

#[tokio::test]
async fn closed_cache_lets_a_fetch_end_and_starts_again() {
    let bench = Bench::issuing(&["A"]);
    let cache = bench.cache(1);
    cache.close().await;
    let (token, ()) = tokio::join!(text(&cache), cache.close());
    assert_eq!(token, "A");
    cache.close().await;
    assert_eq!((text(&cache).await, bench.fetches()), ("A".to_owned(), 1));
}

/// A peer that renews its lease for ever is named.
#[tokio::test]
async fn holder_that_keeps_the_lease_too_long_is_named() {
    let bench = Bench::always(token("A"));
    let cache = bench.cache(1);
    let _waiting = caller(&cache);
    for second in 0..40 {
        bench.store.acquire_lease(&app(), "stuck-peer", seconds(6)).await.unwrap();
        bench.advance(1).await;
        assert!(second >= 30 || cache.status().store_problem.is_none(), "after {second} s");
    }
    let problem = cache.status().store_problem.unwrap();
    assert_eq!(problem.error.kind(), StoreErrorKind::LeaseHeld);
    assert!(problem.error.to_string().contains("stuck-peer"), "{}", problem.error);
    bench.advance(10).await;
    assert!(cache.status().store_problem.is_none() && cache.current().get().is_some());
}

/// Earlier versions took the lease for 30 s.
#[tokio::test]
async fn crashed_refresher_is_replaced_soon_after_its_lease() {
    for (seed, (lease, replaced_within)) in (0..10).zip([(6, 10), (30, 32)].into_iter().cycle()) {
        let bench = Bench::issuing(&["A", "B"]);
        let _cache = with_token(bench.cache(seed)).await;
        bench.advance(60 + seed % 2).await;
        // It takes the lease, sets the marker, and is killed.
        bench.store.acquire_lease(&app(), "crashed", seconds(lease)).await.unwrap();
        bench.set_in_doubt().await;
        bench.advance(lease - 1).await;
        assert_eq!(bench.fetches(), 1, "it may still be running");
        bench.advance(replaced_within - lease + 1).await;
        assert_eq!(bench.record().await.token.unwrap().token.expose_secret(), "B");
        assert_eq!(bench.fetches(), 2);
    }
}
