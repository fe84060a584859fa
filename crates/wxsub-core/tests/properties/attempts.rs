//! Promises 3, 7 and 9: one fetch at a time, at a bounded rate, without end.

use proptest::prelude::*;
use wxsub_core::token::{Event, TokenEndpoint};

use super::scenario::*;

proptest! {
    /// The number of callers changes nothing. Every step of every scenario checks that two fetches never overlap.
    #[test]
    fn p03_attempts_are_scheduled_not_per_caller(seed: u64, fates in fates(), callers in 1_usize..50, pause in 1_u64..60) {
        let run = |callers: usize| {
            let mut world = World::new(TokenEndpoint::Token, seed, fates.clone());
            for _ in 0..40 {
                (0..callers).for_each(|_| drop(world.tell(Event::TokenRequested)));
                world.pass(seconds(pause));
            }
            world.fetches
        };
        prop_assert_eq!(run(1), run(callers));
    }

    /// A definite refusal is reported after one attempt, a transient failure after at most three.
    #[test]
    fn p03_a_failure_is_shared(seed: u64, end in setbacks()) {
        let mut world = World::new(TokenEndpoint::Token, seed, Vec::new());
        world.otherwise = at_once(end);
        world.tell(Event::TokenRequested);
        while world.status().failure_seq == 0 {
            world.pass(std::time::Duration::from_millis(10));
        }
        prop_assert!(world.fetches.len() <= 3);
        let callers_later = world.fetches.len();
        (0..100).for_each(|_| drop(world.tell(Event::TokenRequested)));
        prop_assert_eq!(world.fetches.len(), callers_later);
    }

    /// A definite refusal keeps the current token, and slows attempts down without stopping them.
    #[test]
    fn p07_definite_refusals_neither_loop_nor_stop(seed: u64, code in prop_oneof![Just(40125), Just(40164), Just(45009), Just(40243)]) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(End::Refuse(code));
        let held = world.held().unwrap().generation();
        world.pass(seconds(7100));
        prop_assert_eq!(world.held().map(|token| token.generation()), Some(held));
        let before = world.fetches.len();
        world.pass(DAY);
        let in_a_day = world.fetches.len() - before;
        prop_assert!((250..=450).contains(&in_a_day), "{} attempts in a day", in_a_day);
        // The cache recovers without a caller.
        world.otherwise = issue(7200);
        world.pass(seconds(301));
        prop_assert!(world.held().is_some());
    }

    /// The rate of attempts is bounded for any responses, however fast.
    #[test]
    fn p09_nothing_loops_hot(seed: u64, end in ends(), stable: bool) {
        let endpoint = if stable { TokenEndpoint::StableToken } else { TokenEndpoint::Token };
        let mut world = World::holding(endpoint, seed, 7200);
        world.otherwise = Fate { takes: std::time::Duration::ZERO, end };
        world.pass(seconds(3 * 3600));
        let per_hour = world.fetches.len() / 3;
        prop_assert!(per_hour <= 400, "{} attempts an hour", per_hour);
    }

    /// However short the lives are that Weixin gives, fetches stay within its daily quota of 2 000. No token is handed out past
    /// its end, and callers in the gap get an error that says when to come back.
    #[test]
    fn p09_short_lives_stay_within_the_quota(seed: u64, stable: bool, life in 1_u64..=90, takes in 0_u64..250) {
        let (endpoint, quota) = match stable {
            true => (TokenEndpoint::StableToken, 8_700),
            false => (TokenEndpoint::Token, 1_500),
        };
        let mut world = World::holding(endpoint, seed, 60);
        world.otherwise = Fate { takes: std::time::Duration::from_millis(takes), end: End::Issue(seconds(life)) };
        for _ in 0..1_440 {
            world.pass(seconds(60));
            let status = world.status();
            let says_when = status.failure.is_some_and(|failure| failure.retry_after().is_some_and(|wait| wait <= seconds(60)));
            prop_assert!(world.held().is_some() || world.in_flight.is_some() || says_when);
        }
        prop_assert!(world.fetches.len() <= quota, "{} fetches in a day", world.fetches.len());
        world.otherwise = issue(7200);
        world.pass(seconds(130));
        prop_assert!(world.held().is_some());
    }

    /// An odd response never evicts a valid token.
    #[test]
    fn p09_odd_answers_evict_nothing(seed: u64, fates in fates()) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.fates = fates.into_iter().filter(|fate| !matches!(fate.end, End::Issue(_) | End::Same)).collect();
        world.otherwise = at_once(End::Odd);
        let held = world.held().unwrap().generation();
        world.pass(seconds(7190));
        prop_assert_eq!(world.held().map(|token| token.generation()), Some(held));
    }
}
