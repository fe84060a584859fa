//! Promise 13: a generation only grows.

use std::sync::Arc;

use proptest::prelude::*;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AccessToken;
use wxsub_core::token::{CachedToken, Event, Evidence, Generation, TokenEndpoint};

use super::scenario::*;

proptest! {
    #[test]
    fn p13_the_next_is_greater_and_no_earlier_than_its_asking(known: u32, asked in 0_u64..1 << 50) {
        let next = Generation::new(u64::from(known)).next(UnixMillis::new(asked));
        prop_assert!(next.get() > u64::from(known) && next.get() >= asked);
    }

    /// Whatever number a record holds, a token that is fetched after it counts, here and for every other process.
    #[test]
    fn p13_no_record_poisons_what_follows(seed: u64, stored in prop_oneof![any::<u64>(), u64::MAX - 9..=u64::MAX, 0_u64..1 << 51]) {
        let endpoint = TokenEndpoint::Token;
        let (mut world, mut peer) = (World::new(endpoint, seed, vec![]), World::new(endpoint, seed, vec![]));
        for world in [&mut world, &mut peer] {
            let token = CachedToken::new(AccessToken::new("ODD").unwrap(), Generation::new(stored), world.now, seconds(60));
            world.tell(Event::StoreLoaded { token: Arc::new(token), in_doubt_since: None });
        }
        for _ in 0..5 {
            world.tell(Event::TokenRequested);
            world.pass(seconds(4000));
            let held = world.held().unwrap();
            prop_assert!(held.generation() < Generation::MAX);
            peer.now = world.now;
            peer.tell(Event::StoreLoaded { token: Arc::clone(&held), in_doubt_since: None });
            prop_assert!(peer.held().is_some_and(|token| token.token().ct_eq(held.token())));
        }
    }

    /// The served generation never goes back, whatever the clocks and the store do.
    #[test]
    fn p13_served_generation_never_goes_back(seed: u64, fates in fates(), ops in ops(), offered in any::<prop::sample::Index>()) {
        let mut world = World::new(TokenEndpoint::Token, seed, fates);
        let (mut newest, mut earlier) = (Generation::default(), Vec::new());
        for op in &ops {
            world.do_op(op);
            if let Some(held) = world.held() {
                prop_assert!(held.generation() >= newest, "{} after {}", held.generation(), newest);
                newest = held.generation();
                earlier.push(held);
            }
            if !earlier.is_empty() {
                // A slow writer stores an older generation with a recent time.
                let old: &Arc<CachedToken> = offered.get(&earlier);
                let late = CachedToken::new(old.token().clone(), old.generation(), world.now, seconds(7200));
                world.tell(Event::StoreLoaded { token: Arc::new(late), in_doubt_since: None });
            }
        }
    }

    /// A newer token of a peer is adopted without a fetch, unless Weixin rejected it.
    #[test]
    fn p13_newer_stored_token_is_adopted(seed: u64, ahead in 1_u64..1_000_000, rejected: bool) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(End::NotSent);
        let held = world.held().unwrap();
        let fetches = world.fetches.len();
        let newer = Generation::new(held.generation().get() + ahead);
        let token = if rejected {
            world.report(held.generation(), Evidence::Observed);
            held.token().clone()
        } else {
            AccessToken::new("OTHER").unwrap()
        };
        world.tell(Event::StoreLoaded { token: Arc::new(CachedToken::new(token, newer, world.now, seconds(7200))), in_doubt_since: None });
        match world.held() {
            Some(now_held) => prop_assert!(!rejected && now_held.generation() == newer && world.fetches.len() == fetches),
            None => prop_assert!(rejected),
        }
    }
}
