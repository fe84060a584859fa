//! The conformance suite of a [`TokenStore`]. Each case needs an empty store.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a broken rule must fail its test")]

use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::{AccessToken, AppId};

use crate::clock::{Clock, ClockReading, MonotonicInstant, SystemClock, UnixMillis, timeout_at};
use crate::store::{CasOutcome, LeaseOutcome, MAX_LEASE, StoredToken, TokenStore, UpstreamId};
use crate::token::Generation;

const LONG: Duration = Duration::from_secs(3600);

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn token(text: &str, generation: u64) -> StoredToken {
    let lifetime = Duration::from_secs(7200);
    StoredToken::new(
        AccessToken::new(text).unwrap(),
        Generation::new(generation),
        UnixMillis::new(1_000),
        lifetime,
    )
}

async fn put(store: &dyn TokenStore, app: &AppId, replaces: u64, new: StoredToken) -> CasOutcome {
    store.compare_and_set(app, Generation::new(replaces), new).await.unwrap()
}

/// Runs all cases, each on a new store from `make`.
///
/// # Panics
/// If the store breaks a rule.
///
/// # Cancel safety
/// Dropping the future ends the test.
pub async fn run(make: impl Fn() -> Arc<dyn TokenStore>) {
    stored_token_is_loaded(&*make()).await;
    upstream_is_that_of_the_token(&*make()).await;
    older_token_never_replaces_a_newer(&*make()).await;
    request_times_keep_their_order(&*make()).await;
    lease_has_one_holder(&*make()).await;
    lease_that_is_too_long_is_free(&*make()).await;
    marker_stays_until_a_token_is_stored(&*make()).await;
    forced_refreshes_are_rate_limited(&*make()).await;
    forced_refreshes_in_the_future_do_not_count(&*make()).await;
    wrong_times_are_bounded(&*make()).await;
    largest_generation_is_stored(&*make()).await;
    apps_are_independent(&*make()).await;
}

/// Runs the cases of a store that peers share, each on two new links to one empty store from `make`. A case waits for the
/// real time that a change needs.
///
/// # Panics
/// If the store breaks a rule.
///
/// # Cancel safety
/// Dropping the future ends the test.
pub async fn run_shared(make: impl Fn() -> [Arc<dyn TokenStore>; 2]) {
    let [own, peer] = make();
    let (own, peer) = (&*own, &*peer);
    let (app, other, at) = (app("wx1"), app("wx2"), UnixMillis::new(10));
    // Each write of token or marker is announced, also if no one waits at that time.
    put(peer, &app, 0, token("A", 5)).await;
    put(peer, &other, 0, token("A", 5)).await;
    let mut seen = next_change(own, &app, 0, "the first token").await;
    next_change(own, &other, 0, "the first token of another app").await;
    for (what, wait_first, generation) in
        [("marker set", false, 0), ("marker cleared", true, 0), ("token", false, 6), ("token", true, 7)]
    {
        let change = async {
            match what {
                "marker set" => peer.set_in_doubt(&app, at).await.unwrap(),
                "marker cleared" => peer.clear_in_doubt(&app, at).await.unwrap(),
                _ => drop(put(peer, &app, generation - 1, token("B", generation)).await),
            }
        };
        seen = if wait_first {
            tokio::join!(next_change(own, &app, seen, what), change).0
        } else {
            change.await;
            next_change(own, &app, seen, what).await
        };
    }
}

/// The mark of the next change.
async fn next_change(store: &dyn TokenStore, app: &AppId, seen: u64, what: &str) -> u64 {
    let clock = SystemClock::new();
    let deadline = clock.now().mono + Duration::from_secs(10);
    let change = timeout_at(&clock, deadline, store.wait_for_change(app, seen)).await;
    let change = change.unwrap_or_else(|| panic!("not announced: {what}"));
    assert!(change.failure.is_none() && change.mark != seen, "{what}: {change:?}");
    change.mark
}

async fn stored_token_is_loaded(store: &dyn TokenStore) {
    let app = app("wx1");
    let empty = store.load(&app).await.unwrap();
    assert!(
        empty.token.is_none()
            && empty.in_doubt_since.is_none()
            && empty.generation() == Generation::default()
    );
    assert!(matches!(put(store, &app, 0, token("A", 5)).await, CasOutcome::Stored));
    let stored = store.load(&app).await.unwrap().token.unwrap();
    assert_eq!((stored.token.expose_secret(), stored.generation.get()), ("A", 5));
    assert_eq!((stored.requested_at.get(), stored.lifetime.as_secs()), (1_000, 7200));
}

/// A store of one process may record no upstream. A stored token never has that of an earlier one.
async fn upstream_is_that_of_the_token(store: &dyn TokenStore) {
    let app = app("wx1");
    let upstreams = ["0123456789abcdef", "fedcba9876543210"].map(UpstreamId::parse);
    for (number, upstream) in (1..).zip([upstreams[0], upstreams[1], None]) {
        let new = token("A", number).with_upstream(upstream);
        assert!(matches!(put(store, &app, number - 1, new).await, CasOutcome::Stored));
        let stored = store.load(&app).await.unwrap().token.unwrap().upstream;
        assert!(stored == upstream || stored.is_none(), "{stored:?} instead of {upstream:?}");
    }
}

async fn older_token_never_replaces_a_newer(store: &dyn TokenStore) {
    let app = app("wx1");
    put(store, &app, 0, token("A", 5)).await;
    for (replaces, late) in [(0, token("B", 6)), (4, token("B", 9)), (5, token("B", 5)), (5, token("B", 4))] {
        let CasOutcome::Conflict(record) = put(store, &app, replaces, late).await else {
            panic!("an older token was stored")
        };
        assert_eq!(record.token.unwrap().token.expose_secret(), "A");
    }
    assert!(matches!(put(store, &app, 5, token("C", 6)).await, CasOutcome::Stored));
    assert_eq!(store.load(&app).await.unwrap().generation().get(), 6);
}

/// A token that gets a higher generation keeps the time of its request. Times show which of two tokens was requested later,
/// because generations come from the clocks of several processes.
async fn request_times_keep_their_order(store: &dyn TokenStore) {
    let (app, now) = (app("wx1"), SystemClock::new().now());
    let requested = |seconds_ago: u64| now.wall.before(Duration::from_secs(seconds_ago));
    let times = [(60, 5), (60, 9), (20, 12), (40, 14)];
    let mut replaces = 0;
    for (seconds_ago, generation) in times {
        let new = StoredToken { requested_at: requested(seconds_ago), ..token("A", generation) };
        assert!(matches!(put(store, &app, replaces, new).await, CasOutcome::Stored));
        let stored = store.load(&app).await.unwrap().token.unwrap();
        let age = now.wall.since(stored.requested_at).as_secs();
        assert!(age.abs_diff(seconds_ago) <= 2, "{age} s instead of {seconds_ago} s");
        replaces = generation;
    }
}

async fn is_leased(store: &dyn TokenStore, app: &AppId, holder: &str, length: Duration) -> bool {
    store.acquire_lease(app, holder, length).await.unwrap() == LeaseOutcome::Acquired
}

async fn lease_has_one_holder(store: &dyn TokenStore) {
    let app = app("wx1");
    let held_by_one = LeaseOutcome::HeldBy("one".to_owned());
    assert!(is_leased(store, &app, "one", MAX_LEASE).await);
    assert_eq!(store.acquire_lease(&app, "two", MAX_LEASE).await.unwrap(), held_by_one);
    assert!(is_leased(store, &app, "one", MAX_LEASE).await, "a holder extends its lease");
    store.release_lease(&app, "two").await.unwrap();
    assert_eq!(
        store.acquire_lease(&app, "two", MAX_LEASE).await.unwrap(),
        held_by_one,
        "only the holder releases it"
    );
    store.release_lease(&app, "one").await.unwrap();
    assert!(is_leased(store, &app, "two", MAX_LEASE).await);
}

/// No holder takes a lease for an hour: the clock of the store was set back, or a dump was restored.
async fn lease_that_is_too_long_is_free(store: &dyn TokenStore) {
    let app = app("wx1");
    assert!(is_leased(store, &app, "one", LONG).await);
    assert!(is_leased(store, &app, "two", MAX_LEASE).await);
    assert!(!is_leased(store, &app, "one", LONG).await, "the new lease counts");
}

async fn marker_stays_until_a_token_is_stored(store: &dyn TokenStore) {
    let (app, at) = (app("wx1"), UnixMillis::new);
    store.set_in_doubt(&app, at(10)).await.unwrap();
    store.set_in_doubt(&app, at(20)).await.unwrap();
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, Some(at(10)), "the first marker stays");
    store.clear_in_doubt(&app, at(20)).await.unwrap();
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, Some(at(10)), "another marker stays");
    assert!(matches!(put(store, &app, 7, token("A", 8)).await, CasOutcome::Conflict(_)));
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, Some(at(10)), "a conflict clears nothing");
    put(store, &app, 0, token("A", 4).keeping_marker()).await;
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, Some(at(10)), "the marker of another fetch");
    put(store, &app, 4, token("A", 5)).await;
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, None);
    store.set_in_doubt(&app, at(30)).await.unwrap();
    store.clear_in_doubt(&app, at(30)).await.unwrap();
    assert_eq!(store.load(&app).await.unwrap().in_doubt_since, None);
}

async fn forced_refreshes_are_rate_limited(store: &dyn TokenStore) {
    let (app, minute) =
        (app("wx1"), |n: u64| UnixMillis::new(1_000_000_000_000) + Duration::from_secs(60 * n));
    assert!(store.try_acquire_force_refresh(&app, minute(0)).await.unwrap());
    assert!(!store.try_acquire_force_refresh(&app, minute(9)).await.unwrap());
    for n in 1..6 {
        assert!(store.try_acquire_force_refresh(&app, minute(10 * n)).await.unwrap());
    }
    assert!(!store.try_acquire_force_refresh(&app, minute(600)).await.unwrap());
    assert!(store.try_acquire_force_refresh(&app, minute(24 * 60)).await.unwrap());
}

async fn forced_refreshes_in_the_future_do_not_count(store: &dyn TokenStore) {
    let (app, now) = (app("wx1"), UnixMillis::new(1_000_000_000_000));
    assert!(store.try_acquire_force_refresh(&app, now + LONG).await.unwrap());
    assert!(store.try_acquire_force_refresh(&app, now).await.unwrap());
}

/// A token with wrong times is valid for two hours at most. Its age is unknown if it was requested in the future.
async fn wrong_times_are_bounded(store: &dyn TokenStore) {
    let app = app("wx1");
    let now = ClockReading::new(MonotonicInstant::default(), UnixMillis::new(1_780_000_000_000));
    let (ended, future) = (UnixMillis::new(1_000), now.wall + Duration::from_secs(100 * 365 * 24 * 3600));
    for (number, (requested_at, usable)) in (1..).zip([(future, true), (ended, false)]) {
        let odd = StoredToken { requested_at, lifetime: Duration::MAX, ..token("A", number) };
        assert!(matches!(put(store, &app, number - 1, odd).await, CasOutcome::Stored));
        let token = store.load(&app).await.unwrap().token.unwrap().to_cached(now);
        assert_eq!(
            (token.is_valid(now), token.has_known_age()),
            (usable, !usable),
            "requested_at at {requested_at:?}"
        );
        assert!(token.lifetime() <= Duration::from_secs(7200), "a lifetime of {:?}", token.lifetime());
    }
}

async fn largest_generation_is_stored(store: &dyn TokenStore) {
    let (app, max) = (app("wx1"), Generation::MAX.get());
    assert!(matches!(put(store, &app, 0, token("A", max - 1)).await, CasOutcome::Stored));
    assert!(matches!(put(store, &app, max - 1, token("B", max)).await, CasOutcome::Stored));
    assert!(matches!(put(store, &app, max - 1, token("C", max)).await, CasOutcome::Conflict(_)));
    assert_eq!(store.load(&app).await.unwrap().generation(), Generation::MAX);
}

async fn apps_are_independent(store: &dyn TokenStore) {
    let (one, two) = (app("wx1"), app("wx2"));
    put(store, &one, 0, token("A", 5)).await;
    store.set_in_doubt(&one, UnixMillis::new(10)).await.unwrap();
    assert!(is_leased(store, &one, "one", MAX_LEASE).await);
    let other = store.load(&two).await.unwrap();
    assert!(other.token.is_none() && other.in_doubt_since.is_none());
    assert!(is_leased(store, &two, "two", MAX_LEASE).await);
    assert!(matches!(put(store, &two, 0, token("B", 3)).await, CasOutcome::Stored));
    assert_eq!(store.load(&one).await.unwrap().generation().get(), 5);
}
