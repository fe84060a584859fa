//! Promises 5, 6 and 11: "that one no longer works".

use proptest::prelude::*;
use wxsub_core::token::{
    Event, Evidence, Generation, ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent,
};

use super::scenario::*;

proptest! {
    /// Seen: not handed out again, one fetch for all who saw it, and the others are superseded once it is here.
    #[test]
    fn p05_what_we_saw_is_believed(seed: u64, reporters in 1_usize..64) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        let dead = world.held().unwrap().generation();
        let fetches = world.fetches.len();
        for _ in 0..reporters {
            let verdict = world.report(dead, Evidence::Observed);
            let waits = matches!(verdict, Some(ReportOutcome::Pending { .. }));
            prop_assert!(waits, "{:?}", verdict);
            prop_assert!(world.held().is_none());
        }
        world.pass(seconds(1));
        prop_assert_eq!(world.fetches.len(), fetches + 1);
        prop_assert!(world.held().unwrap().generation() > dead);
        let verdict = world.report(dead, Evidence::Observed);
        let as_expected = matches!(verdict, Some(ReportOutcome::AlreadyRefreshed(_)));
            prop_assert!(as_expected);
        prop_assert_eq!(world.fetches.len(), fetches + 1);
    }

    /// Claimed: one fetch, and everybody keeps the token until its replacement is held.
    #[test]
    fn p05_what_is_claimed_takes_the_token_from_nobody(seed: u64, end in ends(), reporters in 1_usize..64) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(end);
        let claimed = world.held().unwrap().generation();
        let fetches = world.fetches.len();
        for _ in 0..reporters {
            let verdict = world.report(claimed, Evidence::Reported);
            let as_expected = matches!(verdict, Some(ReportOutcome::Pending { .. }));
            prop_assert!(as_expected);
            prop_assert_eq!(world.held().unwrap().generation(), claimed);
        }
        prop_assert_eq!(world.fetches.len(), fetches + 1);
        world.pass(std::time::Duration::from_millis(60));
        prop_assert!(world.held().is_some());
    }

    /// Claims against an older token cost nothing and get the current one.
    #[test]
    fn p05_old_claims_cost_nothing(seed: u64, older in 1_u64..1_000_000, seen: bool) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        let current = world.held().unwrap().generation();
        let fetches = world.fetches.len();
        let evidence = if seen { Evidence::Observed } else { Evidence::Reported };
        match world.report(Generation::new(current.get() - older), evidence) {
            Some(ReportOutcome::AlreadyRefreshed(token)) => prop_assert_eq!(token.generation(), current),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(world.fetches.len(), fetches);
        prop_assert!(world.held().is_some());
    }

    /// However many report, however often: five refreshes, and one more a minute.
    #[test]
    fn p05_refreshes_on_report_are_rationed(seed: u64, seen: bool, every in 1_u64..90) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        let evidence = if seen { Evidence::Observed } else { Evidence::Reported };
        let (fetches, started) = (world.fetches.len(), world.now.mono);
        for _ in 0..20 {
            if let Some(held) = world.held() {
                let verdict = world.report(held.generation(), evidence);
                if let Some(ReportOutcome::Rejected(error)) = verdict {
                    let rationed = matches!(error.kind(), TokenErrorKind::RateLimited(_));
                    prop_assert!(rationed && error.retry_after().is_some());
                }
            }
            world.pass(seconds(every));
        }
        let minutes = world.now.mono.duration_since(started).as_secs() / 60;
        let most = 5 + usize::try_from(minutes).unwrap() + 1;
        prop_assert!(world.fetches.len() - fetches <= most, "{} in {} min", world.fetches.len() - fetches, minutes);
    }

    /// Callers that give up are never heard of again, and nothing depends on them: waiting is no state of the lifecycle,
    /// so two worlds that differ only in who still waits are the same.
    #[test]
    fn p06_giving_up_cancels_nothing(seed: u64, fates in fates()) {
        let run = |wants: usize| {
            let mut world = World::new(TokenEndpoint::Token, seed, fates.clone());
            world.tell(Event::TokenRequested);
            for step in 0..200 {
                if step < wants {
                    world.tell(Event::TokenRequested);
                }
                world.pass(std::time::Duration::from_millis(700));
            }
            (world.fetches.len(), world.held().map(|token| token.generation()))
        };
        prop_assert_eq!(run(0), run(200));
    }

    /// A token that dies long before its time without an attempt of ours to explain it was ended by somebody else.
    #[test]
    fn p11_a_stranger_is_named(seed: u64, after in 0_u64..3000, lost in prop::option::of(0_u64..340)) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        if let Some(ago) = lost {
            // A fetch of our own whose reply was lost, and one that went well.
            world.fates.push_back(at_once(End::Lose));
            world.report(world.held().unwrap().generation(), Evidence::Reported);
            world.pass(seconds(ago.max(16)));
        } else {
            world.pass(seconds(after));
        }
        let held = world.held().unwrap().generation();
        world.report(held, Evidence::Observed);
        let named = world.count(|notice| matches!(notice, TokenEvent::InvalidatedExternally { generation, .. } if *generation == held));
        prop_assert_eq!(named, usize::from(lost.is_none()));
    }

    /// A token at the end of its life that Weixin ends a little early was stolen by nobody.
    #[test]
    fn p11_an_old_token_just_dies(seed: u64, left in 3_u64..600) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(End::NotSent);
        world.pass(seconds(7199 - left));
        world.report(world.held().unwrap().generation(), Evidence::Observed);
        prop_assert_eq!(world.count(|notice| matches!(notice, TokenEvent::InvalidatedExternally { .. })), 0);
    }
}
