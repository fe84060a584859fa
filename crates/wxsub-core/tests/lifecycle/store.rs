//! Events of the store: markers, tokens and outages.

use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, Generation, TokenEndpoint, TokenErrorKind, TokenEvent,
};

use super::life::*;

#[test]
fn earlier_of_two_markers_counts() {
    for (first, second) in [(10, 20), (20, 10), (10, 10)] {
        let mut life = Life::holding();
        let start = life.now;
        life.pass(seconds(30));
        life.read(Some(start.wall + seconds(first)));
        life.read(Some(start.wall + seconds(second)));
        assert_eq!(life.status().in_doubt_from, Some(start + seconds(first.min(second) + 240)));
    }
}

#[test]
fn marker_during_an_attempt_is_its_own() {
    let mut life = Life::holding();
    let order = fetch(life.report(Evidence::Reported));
    life.read(Some(life.now.wall));
    life.finish(&order, not_sent());
    assert_eq!(life.status().in_doubt_from, None);
}

/// A marker that is gone from the store does not mean that the response arrived.
#[test]
fn own_lost_response_outlives_the_marker() {
    let mut life = Life::holding();
    let asked = life.now;
    let order = fetch(life.report(Evidence::Reported));
    life.finish(&order, lost());
    life.read(Some(asked.wall));
    life.read(None);
    assert_eq!(life.status().in_doubt_from, Some(asked + seconds(240)));
}

#[test]
fn token_in_doubt_expedites_the_refresh() {
    let mut life = Life::holding();
    let since = life.now.wall;
    life.pass(seconds(300));
    life.read(Some(since));
    assert!(life.due_in() <= seconds(5));

    let mut life = Life::holding();
    let order = fetch(life.report(Evidence::Reported));
    life.pass(seconds(300));
    life.finish(&order, FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued));
    let planned = life.status().next_attempt_at;
    assert!(life.due_in() > seconds(5));
    life.read(Some(life.now.wall.before(seconds(300))));
    assert_eq!(life.status().next_attempt_at, planned);
}

/// Weixin may have handled the lost call after the call of the stored token, which is then invalid.
#[test]
fn only_a_later_requested_token_confirms() {
    for (after, endpoint, settled) in [
        (10, TokenEndpoint::Token, true),
        (0, TokenEndpoint::Token, false),
        (-10, TokenEndpoint::StableToken, true),
    ] {
        let mut life = Life::holding_of(endpoint);
        let order = fetch(life.report(Evidence::Reported));
        life.pass(seconds(15));
        let ended = life.now.wall;
        life.finish(&order, lost());
        life.pass(seconds(15));
        let asked = UnixMillis::new(ended.get().saturating_add_signed(after * 1000));
        let generation = order.known.next(asked);
        let found =
            CachedToken::from_shared_store("B".parse().unwrap(), generation, asked, seconds(7200), life.now);
        life.tell(Event::StoreLoaded { token: Arc::new(found), in_doubt_since: None });
        assert_eq!(life.held().generation(), generation);
        assert_eq!(life.status().in_doubt_from.is_none(), settled, "{endpoint:?} {after}");
        assert_eq!(life.due_in() > seconds(5), settled, "{endpoint:?} {after}");
    }
}

/// Weixin may have issued the other token later. With `stable_token` it does not matter.
#[test]
fn conflicting_store_puts_own_token_in_doubt() {
    for (endpoint, meanwhile, suspect) in [
        (TokenEndpoint::Token, 1, true),
        (TokenEndpoint::Token, 0, false),
        (TokenEndpoint::Token, -1, false),
        (TokenEndpoint::StableToken, 1, false),
    ] {
        let mut life = Life::holding_of(endpoint);
        life.pass(seconds(60));
        let order = fetch(life.report(Evidence::Reported));
        let alone = life.token("B", &order);
        let generation = alone.generation();
        life.finish(&order, FetchOutcome::IssuedWithoutLease(alone));
        let replaced = Generation::new(order.known.get().saturating_add_signed(meanwhile));
        life.tell(Event::StorePublished { generation, replaced });
        assert_eq!(life.status().in_doubt_from.is_some(), suspect, "{endpoint:?} {meanwhile}");
    }
}

fn away(life: &mut Life) -> Vec<TokenEvent> {
    // The rate limit allows one refresh on report a minute.
    life.pass(seconds(60));
    let order = fetch(life.report(Evidence::Reported));
    notices(life.finish(&order, FetchOutcome::StoreUnavailable))
}

fn gone_and_back(notices: &[TokenEvent]) -> Vec<&TokenEvent> {
    notices
        .iter()
        .filter(|notice| matches!(notice, TokenEvent::StoreUnavailable | TokenEvent::StoreRecovered))
        .collect()
}

#[test]
fn store_outage_and_recovery_are_reported_once() {
    let back: [fn(&mut Life) -> Vec<Action>; 3] = [
        |life| life.tell(Event::StoreLoaded { token: Arc::new(stored(life, 1)), in_doubt_since: None }),
        |life| {
            life.tell(Event::StorePublished {
                generation: life.held().generation(),
                replaced: Generation::default(),
            })
        },
        |life| {
            life.pass(life.due_in());
            let order = fetch(life.tell(Event::Timer));
            life.finish(&order, FetchOutcome::LeaseHeldByPeer)
        },
    ];
    let mut life = Life::holding();
    for answers in back {
        assert_eq!(away(&mut life), [TokenEvent::StoreUnavailable]);
        assert_eq!(away(&mut life), []);
        assert_eq!(gone_and_back(&notices(answers(&mut life))), [&TokenEvent::StoreRecovered]);
    }
}

/// As with a replica: a successful read does not end the outage.
#[test]
fn read_only_store_counts_as_unavailable() {
    let mut life = Life::holding();
    away(&mut life);
    for _ in 0..3 {
        life.read(None);
        assert_eq!(away(&mut life), []);
    }
}

#[test]
fn unleased_fetch_keeps_store_unavailable_until_stored() {
    let mut life = Life::holding();
    let order = fetch(life.report(Evidence::Observed));
    let alone = life.token("B", &order);
    let events = notices(life.finish(&order, FetchOutcome::IssuedWithoutLease(Arc::clone(&alone))));
    assert_eq!(gone_and_back(&events), [&TokenEvent::StoreUnavailable]);
    let events = notices(life.tell(Event::StoreLoaded { token: alone, in_doubt_since: None }));
    assert_eq!(events, [TokenEvent::StoreRecovered]);
}
