//! Promise 10: lifetimes count from the request, on both clocks.

use std::sync::Arc;

use proptest::prelude::*;
use wxsub_core::store::StoredToken;
use wxsub_core::token::{Event, Evidence, Generation, TokenEndpoint, TokenEvent};

use super::scenario::*;

proptest! {
    /// A slow response does not extend the lifetime.
    #[test]
    fn p10_expiry_counts_from_the_moment_of_asking(seed: u64, takes in 0_u64..15, life in 20_u64..7200) {
        let mut world = World::new(TokenEndpoint::Token, seed, vec![Fate { takes: seconds(takes), end: End::Issue(seconds(life)) }]);
        world.otherwise = at_once(End::NotSent);
        world.tell(Event::TokenRequested);
        let asked = world.now;
        world.pass(seconds(takes + 1));
        prop_assert_eq!(world.held().unwrap().expires_at(), asked + seconds(life));
    }

    /// Expiry by one clock is final. Setting the other clock back does not make the token valid again.
    #[test]
    fn p10_no_clock_revives_a_dead_token(seed: u64, jump in 0_u64..100_000, back in 0_u64..200_000) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(End::NotSent);
        let ended = world.held().unwrap();
        // As after a suspension: the wall clock has advanced, the monotonic clock has not.
        world.now.wall = world.now.wall + seconds(jump);
        world.tell(Event::Timer);
        let gone = world.held().is_none();
        prop_assert_eq!(gone, jump >= 7199);
        world.now.wall = world.now.wall.before(seconds(back));
        world.pass(seconds(1));
        prop_assert_eq!(world.held().is_none(), gone);
        // With the wall clock set back, the monotonic clock decides.
        world.pass(seconds(7200));
        prop_assert!(world.held().is_none() && ended.expires_at().mono <= world.now.mono);
    }

    /// A new process knows the age of a stored token from the wall clock only. Expiry is final there, too.
    #[test]
    fn p10_a_stored_token_seen_dead_stays_dead(seed: u64, over in 0_u64..100_000, back in 1_u64..200_000) {
        let mut world = World::new(TokenEndpoint::Token, seed, vec![]);
        world.otherwise = at_once(End::NotSent);
        let asked = world.now.wall.before(seconds(7200 + over));
        let stored = StoredToken::new("T".parse().unwrap(), Generation::default().next(asked), asked, seconds(7200));
        world.tell(Event::StoreLoaded { token: Arc::new(stored.to_cached(world.now)), in_doubt_since: None });
        world.now.wall = world.now.wall.before(seconds(back));
        world.tell(Event::StoreLoaded { token: Arc::new(stored.to_cached(world.now)), in_doubt_since: None });
        prop_assert!(world.held().is_none());
    }

    /// A record from the future is of unknown age: it is served, refreshed at once, and handed out for a minute at most.
    #[test]
    fn p10_a_record_from_the_future_is_served_and_refreshed_at_once(
        seed: u64,
        stable: bool,
        ahead in prop_oneof![61_u64..100_000, Just(u64::MAX / 1000)],
        life in prop_oneof![1_u64..=7200, Just(u64::MAX)],
        minutes in 0_u64..200,
    ) {
        let endpoint = if stable { TokenEndpoint::StableToken } else { TokenEndpoint::Token };
        let mut world = World::new(endpoint, seed, vec![]);
        world.otherwise = at_once(End::NotSent);
        world.load(world.now.wall + seconds(ahead), seconds(life));
        prop_assert!(world.held().is_some() && world.in_flight.is_some());
        // While no other can be had it is served, for one whole life at most.
        for _ in 0..minutes {
            world.pass(seconds(60));
            prop_assert!(world.status().safe_ttl(world.now) <= seconds(60));
            prop_assert_eq!(world.held().is_some(), world.now.wall.since(world.fetches[0].0.wall) < seconds(life.min(7200)));
        }
        let stolen = world.held().is_some_and(|held| {
            world.report(held.generation(), Evidence::Observed);
            world.count(|notice| matches!(notice, TokenEvent::InvalidatedExternally { .. })) > 0
        });
        prop_assert!(!stolen, "the age explains it");
        world.otherwise = issue(7200);
        world.pass(seconds(70));
        prop_assert!(world.held().is_some_and(|held| held.has_known_age()));
        prop_assert!(world.status().safe_ttl(world.now) > seconds(3000));
    }

    /// Clocks that differ a little are no reason to fetch.
    #[test]
    fn p10_small_skew_costs_nothing(seed: u64, ahead in 0_u64..=60) {
        let mut world = World::new(TokenEndpoint::Token, seed, vec![]);
        world.load(world.now.wall + seconds(ahead), seconds(7200));
        world.pass(seconds(1800));
        prop_assert!(world.held().is_some() && world.fetches.is_empty());
    }

    /// No record makes a token live for more than two hours.
    #[test]
    fn p10_a_stored_life_is_two_hours_at_most(seed: u64, ago in 0_u64..100_000, life in 7200_u64..=u64::MAX) {
        let mut world = World::new(TokenEndpoint::Token, seed, vec![]);
        world.load(world.now.wall.before(seconds(ago)), seconds(life));
        prop_assert_eq!(world.held().is_some(), ago < 7200);
        prop_assert!(world.held().is_none_or(|held| held.remaining(world.now) <= seconds(7200 - ago)));
    }

    /// A wall clock set forward causes one early refresh, and no more.
    #[test]
    fn p10_a_jump_costs_one_refresh(seed: u64, jump in 4000_u64..7000) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.now.wall = world.now.wall + seconds(jump);
        let fetches = world.fetches.len();
        world.pass(seconds(62));
        prop_assert_eq!(world.fetches.len(), fetches + 1);
        world.pass(seconds(1800));
        prop_assert_eq!(world.fetches.len(), fetches + 1);
    }

    /// No panic and no endless lifetime, from the year 1970 to 2106.
    #[test]
    fn p10_any_jump_is_survived(seed: u64, fates in fates(), ops in ops(), wall in 0_u64..=4_300_000_000) {
        let mut world = World::new(TokenEndpoint::Token, seed, fates);
        for (index, op) in ops.iter().enumerate() {
            if index == ops.len() / 2 {
                world.now.wall = wxsub_core::clock::UnixMillis::new(wall * 1000);
            }
            world.do_op(op);
        }
        world.fates.clear();
        world.otherwise = issue(7200);
        world.pass(seconds(400));
        world.tell(Event::TokenRequested);
        world.pass(seconds(120));
        let held = world.held();
        prop_assert!(held.is_some_and(|token| token.remaining(world.now) <= seconds(7200)));
    }
}
