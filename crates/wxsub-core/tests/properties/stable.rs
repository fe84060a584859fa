//! Promise 12: `stable_token` hands out the same token until shortly before its end.

use proptest::prelude::*;
use wxsub_core::token::{Event, Evidence, RefreshMode, ReportOutcome, TokenEndpoint, TokenErrorKind};

use super::scenario::*;

fn holding(seed: u64, life: u64) -> World {
    World::holding(TokenEndpoint::StableToken, seed, life)
}

proptest! {
    /// Not before the last 300 s, and then every 20 s or so until another comes; the same token is no new generation.
    #[test]
    fn p12_it_asks_again_near_the_end(seed: u64, life in 600_u64..=7200) {
        let mut world = holding(seed, life);
        world.otherwise = at_once(End::Same);
        let held = world.held().unwrap();
        let lead = held.expires_at().mono.before(seconds(300));
        world.pass(lead.duration_since(world.now.mono) - seconds(1));
        prop_assert_eq!(world.fetches.len(), 1);
        world.pass(seconds(200));
        prop_assert_eq!(world.held().unwrap().generation(), held.generation());
        let asked = world.fetches.len() - 1;
        prop_assert!((8..=14).contains(&asked), "asked {} times in 200 s", asked);
        world.otherwise = issue(7200);
        world.pass(seconds(26));
        prop_assert!(world.held().unwrap().generation() > held.generation());
    }

    /// After a rejection it asks as usual; the same token again is forced once, and is never handed out.
    #[test]
    fn p12_a_rejected_token_is_forced_out(seed: u64, forced_works: bool) {
        let mut world = holding(seed, 7200);
        let rejected = world.held().unwrap();
        world.fates.push_back(at_once(End::Same));
        world.fates.push_back(at_once(if forced_works { End::Issue(seconds(7200)) } else { End::Same }));
        world.otherwise = at_once(End::Same);
        world.report(rejected.generation(), Evidence::Observed);
        world.pass(seconds(1));
        let modes: Vec<_> = world.fetches[1..].iter().map(|(_, mode)| *mode).collect();
        prop_assert_eq!(modes, [RefreshMode::Normal, RefreshMode::Forced]);
        match world.held() {
            Some(held) => prop_assert!(forced_works && !held.token().ct_eq(rejected.token())),
            None => {
                let failure = world.status().failure.unwrap();
                let still_rejected = matches!(failure.kind(), TokenErrorKind::RejectedTokenReissued);
                prop_assert!(!forced_works && still_rejected);
            }
        }
    }

    /// What is only claimed is never forced: the reporter hears that there is no other token, and nobody loses it.
    #[test]
    fn p12_a_claim_forces_nothing(seed: u64) {
        let mut world = holding(seed, 7200);
        world.otherwise = at_once(End::Same);
        let held = world.held().unwrap();
        let Some(ReportOutcome::Pending { announced, .. }) = world.report(held.generation(), Evidence::Reported) else { panic!() };
        world.pass(seconds(1));
        let status = world.status();
        prop_assert_eq!(status.announced, announced + 1);
        let no_other = matches!(status.failure.unwrap().kind(), TokenErrorKind::TokenUnchanged);
        prop_assert!(no_other);
        prop_assert!(world.fetches.iter().all(|(_, mode)| *mode == RefreshMode::Normal));
        prop_assert_eq!(world.held().unwrap().generation(), held.generation());
        world.tell(Event::TokenRequested);
        prop_assert!(world.held().is_some());
    }
}
