//! Promise 12: `stable_token` returns the same token until shortly before expiry.

use proptest::prelude::*;
use wxsub_core::token::{Event, Evidence, RefreshMode, ReportOutcome, TokenEndpoint, TokenErrorKind};

use super::scenario::*;

fn holding(seed: u64, life: u64) -> World {
    World::holding(TokenEndpoint::StableToken, seed, life)
}

proptest! {
    /// Not before the last 300 s, then about every 20 s until a new token comes. The same token is no new generation.
    #[test]
    fn p12_stable_token_is_fetched_near_expiry(seed: u64, life in 600_u64..=7200) {
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

    /// After a rejection it fetches as usual. If the same token comes again, one forced refresh follows, and the token is not served.
    #[test]
    fn p12_rejected_token_is_forced(seed: u64, forced_works: bool) {
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

    /// A report forces nothing: the reporter gets the error that the token is unchanged, and the token is still served.
    #[test]
    fn p12_report_forces_nothing(seed: u64) {
        let mut world = holding(seed, 7200);
        world.otherwise = at_once(End::Same);
        let held = world.held().unwrap();
        let Some(ReportOutcome::Pending { failure_seq: reported_at_seq, .. }) = world.report(held.generation(), Evidence::Reported) else { panic!() };
        world.pass(seconds(1));
        let status = world.status();
        prop_assert_eq!(status.failure_seq, reported_at_seq + 1);
        let no_other = matches!(status.failure.unwrap().kind(), TokenErrorKind::TokenUnchanged);
        prop_assert!(no_other);
        prop_assert!(world.fetches.iter().all(|(_, mode)| *mode == RefreshMode::Normal));
        prop_assert_eq!(world.held().unwrap().generation(), held.generation());
        world.tell(Event::TokenRequested);
        prop_assert!(world.held().is_some());
    }
}
