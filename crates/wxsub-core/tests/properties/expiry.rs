//! Promises 1, 2 and 4: which token is served, and until when.

use proptest::prelude::*;
use wxsub_core::token::{Event, Evidence, TokenEndpoint, TokenEvent};

use super::scenario::*;

fn endpoints() -> impl Strategy<Value = TokenEndpoint> {
    prop_oneof![Just(TokenEndpoint::Token), Just(TokenEndpoint::StableToken)]
}

proptest! {
    /// Never serves a token that is expired by either clock, or that Weixin rejected in our own call.
    #[test]
    fn p01_only_usable_tokens_are_handed_out(endpoint in endpoints(), seed: u64, fates in fates(), ops in ops()) {
        let mut world = World::new(endpoint, seed, fates);
        let mut rejected = Vec::new();
        for op in &ops {
            let before = world.held();
            world.do_op(op);
            if let (Op::Report(Evidence::Observed), Some(token)) = (op, before) {
                rejected.push(token);
            }
            if let Some(held) = world.held() {
                prop_assert!(held.expires_at().mono > world.now.mono && held.expires_at().wall > world.now.wall);
                prop_assert!(!rejected.iter().any(|token| token.token().ct_eq(held.token())));
            }
        }
    }

    /// A waiting caller gets a token or an error within three attempts of 15 s and their retry delays.
    #[test]
    fn p01_a_caller_is_answered(endpoint in endpoints(), seed: u64, fates in fates(), ops in ops()) {
        let mut world = World::new(endpoint, seed, fates);
        for op in &ops {
            world.do_op(op);
        }
        world.tell(Event::TokenRequested);
        let announced = world.status().failure_seq;
        world.pass(seconds(50));
        let status = world.status();
        prop_assert!(world.held().is_some() || status.failure_seq > announced || status.failure.is_some());
    }

    /// A fetch with any outcome does not affect readers meanwhile.
    #[test]
    fn p02_a_refresh_takes_nothing_away(endpoint in endpoints(), seed: u64, end in setbacks(), takes in 0_u64..15) {
        let mut world = World::holding(endpoint, seed, 7200);
        world.otherwise = Fate { takes: seconds(takes), end };
        for _ in 0..7000 {
            world.pass(seconds(1));
            prop_assert!(world.held().is_some());
        }
        prop_assert!(world.fetches.len() > 1);
    }

    /// Only expiry, an observed rejection or a new token removes a token.
    #[test]
    fn p04_a_usable_token_is_never_dropped(endpoint in endpoints(), seed: u64, fates in fates(), ops in ops()) {
        // The same token can come again with an earlier expiry, which then counts.
        let fates = fates.into_iter().filter(|fate| !matches!(fate.end, End::Same)).collect();
        let mut world = World::new(endpoint, seed, fates);
        for op in &ops {
            let before = world.held();
            let noticed = world.notices.len();
            let suspect = world.status().is_in_doubt(world.now);
            world.do_op(op);
            let Some(before) = before.filter(|token| token.is_valid(world.now)) else { continue };
            let believed = match op {
                Op::Report(Evidence::Observed) => true,
                Op::Report(Evidence::Reported) => suspect,
                _ => false,
            };
            let kept = world.held().is_some_and(|held| held.generation() == before.generation());
            let replaced = world.notices.iter().skip(noticed).any(|(_, notice)| {
                matches!(notice, TokenEvent::Refreshed { generation, .. } if *generation > before.generation())
            });
            prop_assert!(kept || replaced || believed, "{op:?} dropped a usable token");
        }
    }
}
