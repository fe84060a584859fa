//! Promise 8: a fetch whose response was lost may have invalidated the current token.

use proptest::prelude::*;
use wxsub_core::token::{Evidence, TokenEndpoint, TokenEvent};

use super::scenario::*;

fn with_lost_answer(seed: u64, takes: u64, otherwise: End) -> World {
    let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
    world.fates.push_back(Fate { takes: seconds(takes), end: End::Lose });
    world.otherwise = at_once(otherwise);
    let due = world.status().next_attempt_at.unwrap();
    world.pass(due.remaining(world.now) + seconds(takes));
    assert_eq!(world.fetches.len(), 2);
    world
}

fn failing() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Lose), Just(End::NotSent), Just(End::Odd), Just(End::Refuse(-1))]
}

proptest! {
    /// In doubt 4 min after the first such attempt: still served, retried at least every 15 s, with a TTL of at most 60 s.
    #[test]
    fn p08_lost_response_puts_token_in_doubt(seed: u64, takes in 0_u64..15, otherwise in failing()) {
        let mut world = with_lost_answer(seed, takes, otherwise);
        let asked = world.fetches[1].0;
        let held = world.held().unwrap().generation();
        let suspect_from = asked + seconds(240);
        while world.now.mono.duration_since(asked.mono) < seconds(900) {
            prop_assert_eq!(world.status().is_in_doubt(world.now), suspect_from.is_past(world.now));
            prop_assert_eq!(world.held().map(|token| token.generation()), Some(held));
            let ttl_end = world.now.mono + world.status().safe_ttl(world.now);
            if suspect_from.is_past(world.now) {
                prop_assert!(ttl_end <= world.now.mono + seconds(60));
            } else {
                prop_assert!(ttl_end <= asked.mono + seconds(300));
            }
            world.pass(seconds(1));
        }
        for pair in world.fetches[1..].windows(2) {
            let gap = pair[1].0.mono.duration_since(pair[0].0.mono);
            prop_assert!(gap <= seconds(15 + takes), "{:?}", gap);
        }
        prop_assert_eq!(world.count(|notice| matches!(notice, TokenEvent::FetchResponseLost { .. })), 1);
    }

    /// A token in doubt is dropped at the first rejection, observed or reported.
    #[test]
    fn p08_token_in_doubt_is_dropped_at_first_rejection(seed: u64, takes in 0_u64..15, suspect: bool) {
        let mut world = with_lost_answer(seed, takes, End::NotSent);
        world.pass(seconds(if suspect { 260 } else { 60 }));
        let held = world.held().unwrap().generation();
        world.report(held, Evidence::Reported);
        prop_assert_eq!(world.held().is_none(), suspect);
    }

    /// A new token clears the doubt, a refusal does not.
    #[test]
    fn p08_only_a_token_clears_the_doubt(seed: u64, issued: bool) {
        let end = if issued { End::Issue(seconds(7200)) } else { End::Refuse(40164) };
        let mut world = with_lost_answer(seed, 0, end);
        world.pass(seconds(300));
        prop_assert_eq!(world.status().is_in_doubt(world.now), !issued);
    }

    /// With `stable_token` a lost response invalidates nothing.
    #[test]
    fn p08_stable_tokens_are_never_in_doubt(seed: u64, fates in fates(), ops in ops()) {
        let mut world = World::new(TokenEndpoint::StableToken, seed, fates);
        for op in &ops {
            world.do_op(op);
            prop_assert!(!world.status().is_in_doubt(world.now));
        }
    }
}
