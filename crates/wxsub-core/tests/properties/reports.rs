//! Promises 5, 6 and 11: rejections and reports.

use proptest::prelude::*;
use wxsub_core::token::{
    Event, Evidence, Generation, ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent,
};

use super::scenario::*;

proptest! {
    /// Observed: the token is not served again, one fetch for all observers, and later observers get the new token.
    #[test]
    fn p05_observed_rejection_is_believed(seed: u64, reporters in 1_usize..64) {
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

    /// Reported: one fetch, and the token is served until there is a new one.
    #[test]
    fn p05_report_keeps_current_token(seed: u64, end in ends(), reporters in 1_usize..64) {
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

    /// A report of an older token starts no fetch and gets the current token.
    #[test]
    fn p05_report_of_old_token_starts_no_fetch(seed: u64, older in 1_u64..1_000_000, seen: bool) {
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

    /// Any number of reports: five refreshes, and one more a minute.
    #[test]
    fn p05_refreshes_on_report_are_rate_limited(seed: u64, seen: bool, every in 1_u64..90) {
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

    /// Waiting is no part of the refresh state, so a caller that gives up changes nothing.
    #[test]
    fn p06_cancelled_caller_cancels_nothing(seed: u64, fates in fates()) {
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

    /// A token that is rejected long before expiry, without an own attempt that explains it, was invalidated externally.
    #[test]
    fn p11_external_invalidation_is_named(seed: u64, after in 0_u64..3000, lost in prop::option::of(0_u64..340)) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        if let Some(ago) = lost {
            // An own fetch whose response was lost, and one that succeeded.
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

    /// A rejection shortly before expiry is no external invalidation.
    #[test]
    fn p11_rejection_near_expiry_is_no_external_invalidation(seed: u64, left in 3_u64..600) {
        let mut world = World::holding(TokenEndpoint::Token, seed, 7200);
        world.otherwise = at_once(End::NotSent);
        world.pass(seconds(7199 - left));
        world.report(world.held().unwrap().generation(), Evidence::Observed);
        prop_assert_eq!(world.count(|notice| matches!(notice, TokenEvent::InvalidatedExternally { .. })), 0);
    }
}
