//! Promise 4: when the next fetch starts.

use proptest::prelude::*;
use wxsub_core::token::TokenEndpoint;

use super::scenario::*;

proptest! {
    /// At half of the lifetime ± 10 %.
    #[test]
    fn p04_refresh_starts_at_half_of_the_lifetime(seed: u64, life in 60_u64..=7200) {
        let mut world = World::holding(TokenEndpoint::Token, seed, life);
        world.pass(seconds(life));
        let (first, second) = (world.fetches[0].0, world.fetches[1].0);
        let after = second.mono.duration_since(first.mono).as_secs_f64() / life as f64;
        prop_assert!((0.449..=0.551).contains(&after), "at {} of the life", after);
    }

    /// Retry delays are at most 15 s while less than a third of the lifetime is left.
    #[test]
    fn p04_attempts_become_urgent(seed: u64, life in 300_u64..=7200) {
        let mut world = World::holding(TokenEndpoint::Token, seed, life);
        world.otherwise = at_once(End::NotSent);
        let ends = world.held().unwrap().expires_at().mono;
        world.pass(seconds(life - 2));
        let urgent = world.fetches.windows(2).filter(|pair| ends.duration_since(pair[0].0.mono) < seconds(life / 3));
        let mut counted = 0;
        for pair in urgent {
            counted += 1;
            let pause = pair[1].0.mono.duration_since(pair[0].0.mono);
            prop_assert!(pause <= seconds(15) + std::time::Duration::from_millis(100), "{:?}", pause);
        }
        prop_assert!(counted >= 5);
    }

    /// A token of a few seconds is refreshed before expiry, also if the endpoint sometimes hangs.
    #[test]
    fn p04_short_lifetimes_leave_no_gap(seed: u64, life in 4_u64..30, hangs in 0_usize..2) {
        let mut world = World::holding(TokenEndpoint::Token, seed, life);
        world.otherwise = issue(life);
        for _ in 0..life * 20 {
            if world.fates.is_empty() && world.in_flight.is_none() {
                let hang = Fate { takes: seconds(100), end: End::Lose };
                world.fates.extend(std::iter::repeat_n(hang, hangs));
                world.fates.push_back(issue(life));
            }
            world.pass(std::time::Duration::from_millis(250));
            prop_assert!(world.held().is_some());
        }
        prop_assert!(world.fetches.len() > 5);
    }
}
