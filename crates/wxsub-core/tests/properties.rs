//! The thirteen promises of the token cache, as properties of the refresh state for any sequence of events. Each has a
//! mutant; `scripts/check-mutants` shows that the tests catch it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "tests may panic, and share one scenario"
)]

mod properties {
    pub mod scenario;
}

use std::sync::Arc;
use std::time::Duration;

use properties::scenario::*;
use proptest::prelude::*;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AccessToken;
use wxsub_core::store::StoredToken;
use wxsub_core::token::{
    CachedToken, Event, Evidence, Generation, RefreshMode, ReportOutcome, TokenEndpoint, TokenErrorKind,
    TokenEvent,
};

fn endpoints() -> impl Strategy<Value = TokenEndpoint> {
    prop_oneof![Just(TokenEndpoint::Token), Just(TokenEndpoint::StableToken)]
}

fn with_lost_response(seed: u64, duration: u64, default_fetch: FetchEnd) -> Scenario {
    let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
    scenario.planned.push_back(PlannedFetch { duration: seconds(duration), end: FetchEnd::Lose });
    scenario.default_fetch = quick_fetch(default_fetch);
    let due = scenario.status().next_attempt_at.unwrap();
    scenario.advance(due.remaining(scenario.now) + seconds(duration));
    assert_eq!(scenario.fetches.len(), 2);
    scenario
}

fn transient_ends() -> impl Strategy<Value = FetchEnd> {
    prop_oneof![
        Just(FetchEnd::Lose),
        Just(FetchEnd::NotSent),
        Just(FetchEnd::Odd),
        Just(FetchEnd::Refuse(-1))
    ]
}

proptest! {
    /// Never serves a token that is expired by either clock, or that Weixin rejected in our own call.
    #[test]
    fn p01_only_valid_tokens_are_served(endpoint in endpoints(), seed: u64, planned in planned_fetches(), ops in ops()) {
        let mut scenario = Scenario::new(endpoint, seed, planned);
        let mut rejected = Vec::new();
        for op in &ops {
            let before = scenario.current();
            scenario.apply(op);
            if let (Op::Report(Evidence::Observed), Some(token)) = (op, before) {
                rejected.push(token);
            }
            if let Some(current) = scenario.current() {
                prop_assert!(current.expires_at().mono > scenario.now.mono && current.expires_at().wall > scenario.now.wall);
                prop_assert!(!rejected.iter().any(|token| token.token().ct_eq(current.token())));
            }
        }
    }

    /// A waiting caller gets a token or an error within three attempts of 15 s and their retry delays.
    #[test]
    fn p01_caller_gets_token_or_error_in_time(endpoint in endpoints(), seed: u64, planned in planned_fetches(), ops in ops()) {
        let mut scenario = Scenario::new(endpoint, seed, planned);
        for op in &ops {
            scenario.apply(op);
        }
        scenario.handle(Event::TokenRequested);
        let published = scenario.status().failure_seq;
        scenario.advance(seconds(50));
        let status = scenario.status();
        prop_assert!(scenario.current().is_some() || status.failure_seq > published || status.failure.is_some());
    }

    /// A fetch with any outcome does not affect readers meanwhile.
    #[test]
    fn p02_refresh_does_not_affect_readers(endpoint in endpoints(), seed: u64, end in failed_ends(), duration in 0_u64..15) {
        let mut scenario = Scenario::with_token(endpoint, seed, 7200);
        scenario.default_fetch = PlannedFetch { duration: seconds(duration), end };
        for _ in 0..7000 {
            scenario.advance(seconds(1));
            prop_assert!(scenario.current().is_some());
        }
        prop_assert!(scenario.fetches.len() > 1);
    }

    /// The number of callers changes nothing. Every step of every scenario checks that two fetches never overlap.
    #[test]
    fn p03_attempts_are_scheduled_not_per_caller(seed: u64, planned in planned_fetches(), callers in 1_usize..50, delay in 1_u64..60) {
        let run = |callers: usize| {
            let mut scenario = Scenario::new(TokenEndpoint::Token, seed, planned.clone());
            for _ in 0..40 {
                (0..callers).for_each(|_| drop(scenario.handle(Event::TokenRequested)));
                scenario.advance(seconds(delay));
            }
            scenario.fetches
        };
        prop_assert_eq!(run(1), run(callers));
    }

    /// A definite refusal is reported after one attempt, a transient failure after at most three.
    #[test]
    fn p03_failure_is_shared(seed: u64, end in failed_ends()) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, Vec::new());
        scenario.default_fetch = quick_fetch(end);
        scenario.handle(Event::TokenRequested);
        while scenario.status().failure_seq == 0 {
            scenario.advance(Duration::from_millis(10));
        }
        prop_assert!(scenario.fetches.len() <= 3);
        let fetches = scenario.fetches.len();
        (0..100).for_each(|_| drop(scenario.handle(Event::TokenRequested)));
        prop_assert_eq!(scenario.fetches.len(), fetches);
    }

    /// Only expiry, an observed rejection or a new token removes a token.
    #[test]
    fn p04_valid_token_is_kept_until_replaced(endpoint in endpoints(), seed: u64, planned in planned_fetches(), ops in ops()) {
        // The same token can come again with an earlier expiry, which then counts.
        let planned = planned.into_iter().filter(|fetch| !matches!(fetch.end, FetchEnd::Same)).collect();
        let mut scenario = Scenario::new(endpoint, seed, planned);
        for op in &ops {
            let before = scenario.current();
            let first_event = scenario.events.len();
            let in_doubt = scenario.status().is_in_doubt(scenario.now);
            scenario.apply(op);
            let Some(before) = before.filter(|token| token.is_valid(scenario.now)) else { continue };
            let is_rejected = match op {
                Op::Report(Evidence::Observed) => true,
                Op::Report(Evidence::Reported) => in_doubt,
                _ => false,
            };
            let is_kept = scenario.current().is_some_and(|current| current.generation() == before.generation());
            let is_replaced = scenario.events.iter().skip(first_event).any(|(_, event)| {
                matches!(event, TokenEvent::Refreshed { generation, .. } if *generation > before.generation())
            });
            prop_assert!(is_kept || is_replaced || is_rejected, "{op:?} dropped a valid token");
        }
    }

    /// At half of the lifetime ± 10 %.
    #[test]
    fn p04_refresh_starts_at_half_of_the_lifetime(seed: u64, lifetime in 60_u64..=7200) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, lifetime);
        scenario.advance(seconds(lifetime));
        let (first, second) = (scenario.fetches[0].0, scenario.fetches[1].0);
        let after = second.mono.duration_since(first.mono).as_secs_f64() / lifetime as f64;
        prop_assert!((0.449..=0.551).contains(&after), "at {} of the lifetime", after);
    }

    /// Retry delays are at most 15 s while less than a third of the lifetime is left.
    #[test]
    fn p04_attempts_become_urgent(seed: u64, lifetime in 300_u64..=7200) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, lifetime);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        let ends = scenario.current().unwrap().expires_at().mono;
        scenario.advance(seconds(lifetime - 2));
        let urgent = scenario.fetches.windows(2).filter(|pair| ends.duration_since(pair[0].0.mono) < seconds(lifetime / 3));
        let mut counted = 0;
        for pair in urgent {
            counted += 1;
            let delay = pair[1].0.mono.duration_since(pair[0].0.mono);
            prop_assert!(delay <= seconds(15) + Duration::from_millis(100), "{:?}", delay);
        }
        prop_assert!(counted >= 5);
    }

    /// A token of a few seconds is refreshed before expiry, also if the endpoint sometimes hangs.
    #[test]
    fn p04_short_lifetimes_leave_no_gap(seed: u64, lifetime in 4_u64..30, hangs in 0_usize..2) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, lifetime);
        scenario.default_fetch = issue_token(lifetime);
        for _ in 0..lifetime * 20 {
            if scenario.planned.is_empty() && scenario.in_flight.is_none() {
                let hang = PlannedFetch { duration: seconds(100), end: FetchEnd::Lose };
                scenario.planned.extend(std::iter::repeat_n(hang, hangs));
                scenario.planned.push_back(issue_token(lifetime));
            }
            scenario.advance(Duration::from_millis(250));
            prop_assert!(scenario.current().is_some());
        }
        prop_assert!(scenario.fetches.len() > 5);
    }

    /// Observed: the token is not served again, one fetch for all observers, and later observers get the new token.
    #[test]
    fn p05_observed_rejection_is_believed(seed: u64, reporters in 1_usize..64) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        let rejected = scenario.current().unwrap().generation();
        let fetches = scenario.fetches.len();
        for _ in 0..reporters {
            let outcome = scenario.report(rejected, Evidence::Observed);
            let waits = matches!(outcome, Some(ReportOutcome::Pending { .. }));
            prop_assert!(waits, "{:?}", outcome);
            prop_assert!(scenario.current().is_none());
        }
        scenario.advance(seconds(1));
        prop_assert_eq!(scenario.fetches.len(), fetches + 1);
        prop_assert!(scenario.current().unwrap().generation() > rejected);
        let outcome = scenario.report(rejected, Evidence::Observed);
        let as_expected = matches!(outcome, Some(ReportOutcome::AlreadyRefreshed(_)));
        prop_assert!(as_expected);
        prop_assert_eq!(scenario.fetches.len(), fetches + 1);
    }

    /// Reported: one fetch, and the token is served until there is a new one.
    #[test]
    fn p05_report_keeps_current_token(seed: u64, end in fetch_ends(), reporters in 1_usize..64) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.default_fetch = quick_fetch(end);
        let reported = scenario.current().unwrap().generation();
        let fetches = scenario.fetches.len();
        for _ in 0..reporters {
            let outcome = scenario.report(reported, Evidence::Reported);
            let as_expected = matches!(outcome, Some(ReportOutcome::Pending { .. }));
            prop_assert!(as_expected);
            prop_assert_eq!(scenario.current().unwrap().generation(), reported);
        }
        prop_assert_eq!(scenario.fetches.len(), fetches + 1);
        scenario.advance(Duration::from_millis(60));
        prop_assert!(scenario.current().is_some());
    }

    /// A report of an older token starts no fetch and gets the current token.
    #[test]
    fn p05_report_of_old_token_starts_no_fetch(seed: u64, older in 1_u64..1_000_000, observed: bool) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        let current = scenario.current().unwrap().generation();
        let fetches = scenario.fetches.len();
        let evidence = if observed { Evidence::Observed } else { Evidence::Reported };
        match scenario.report(Generation::new(current.get() - older), evidence) {
            Some(ReportOutcome::AlreadyRefreshed(token)) => prop_assert_eq!(token.generation(), current),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(scenario.fetches.len(), fetches);
        prop_assert!(scenario.current().is_some());
    }

    /// Any number of reports: five refreshes, and one more a minute.
    #[test]
    fn p05_refreshes_on_report_are_rate_limited(seed: u64, observed: bool, every in 1_u64..90) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        let evidence = if observed { Evidence::Observed } else { Evidence::Reported };
        let (fetches, started) = (scenario.fetches.len(), scenario.now.mono);
        for _ in 0..20 {
            if let Some(current) = scenario.current() {
                let outcome = scenario.report(current.generation(), evidence);
                if let Some(ReportOutcome::Rejected(error)) = outcome {
                    let is_rate_limited = matches!(error.kind(), TokenErrorKind::RateLimited(_));
                    prop_assert!(is_rate_limited && error.retry_after().is_some());
                }
            }
            scenario.advance(seconds(every));
        }
        let minutes = scenario.now.mono.duration_since(started).as_secs() / 60;
        let max = 5 + usize::try_from(minutes).unwrap() + 1;
        prop_assert!(scenario.fetches.len() - fetches <= max, "{} in {} min", scenario.fetches.len() - fetches, minutes);
    }

    /// Waiting is no part of the refresh state, so a caller that gives up changes nothing.
    #[test]
    fn p06_cancelled_caller_cancels_nothing(seed: u64, planned in planned_fetches()) {
        let run = |wants: usize| {
            let mut scenario = Scenario::new(TokenEndpoint::Token, seed, planned.clone());
            scenario.handle(Event::TokenRequested);
            for step in 0..200 {
                if step < wants {
                    scenario.handle(Event::TokenRequested);
                }
                scenario.advance(Duration::from_millis(700));
            }
            (scenario.fetches.len(), scenario.current().map(|token| token.generation()))
        };
        prop_assert_eq!(run(0), run(200));
    }

    /// A definite refusal keeps the current token, and slows attempts down without stopping them.
    #[test]
    fn p07_definite_refusals_neither_loop_nor_stop(seed: u64, code in prop_oneof![Just(40125), Just(40164), Just(45009), Just(40243)]) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.default_fetch = quick_fetch(FetchEnd::Refuse(code));
        let current = scenario.current().unwrap().generation();
        scenario.advance(seconds(7100));
        prop_assert_eq!(scenario.current().map(|token| token.generation()), Some(current));
        let before = scenario.fetches.len();
        scenario.advance(DAY);
        let in_a_day = scenario.fetches.len() - before;
        prop_assert!((250..=450).contains(&in_a_day), "{} attempts in a day", in_a_day);
        // The cache recovers without a caller.
        scenario.default_fetch = issue_token(7200);
        scenario.advance(seconds(301));
        prop_assert!(scenario.current().is_some());
    }

    /// In doubt 4 min after the first such attempt: still served, retried at least every 15 s, with a TTL of at most 60 s.
    #[test]
    fn p08_lost_response_puts_token_in_doubt(seed: u64, duration in 0_u64..15, default_fetch in transient_ends()) {
        let mut scenario = with_lost_response(seed, duration, default_fetch);
        let requested_at = scenario.fetches[1].0;
        let current = scenario.current().unwrap().generation();
        let in_doubt_from = requested_at + seconds(240);
        while scenario.now.mono.duration_since(requested_at.mono) < seconds(900) {
            prop_assert_eq!(scenario.status().is_in_doubt(scenario.now), in_doubt_from.is_past(scenario.now));
            prop_assert_eq!(scenario.current().map(|token| token.generation()), Some(current));
            let ttl_end = scenario.now.mono + scenario.status().safe_ttl(scenario.now);
            if in_doubt_from.is_past(scenario.now) {
                prop_assert!(ttl_end <= scenario.now.mono + seconds(60));
            } else {
                prop_assert!(ttl_end <= requested_at.mono + seconds(300));
            }
            scenario.advance(seconds(1));
        }
        for pair in scenario.fetches[1..].windows(2) {
            let gap = pair[1].0.mono.duration_since(pair[0].0.mono);
            prop_assert!(gap <= seconds(15 + duration), "{:?}", gap);
        }
        prop_assert_eq!(scenario.count(|event| matches!(event, TokenEvent::FetchResponseLost { .. })), 1);
    }

    /// A token in doubt is dropped at the first rejection, observed or reported.
    #[test]
    fn p08_token_in_doubt_is_dropped_at_first_rejection(seed: u64, duration in 0_u64..15, in_doubt: bool) {
        let mut scenario = with_lost_response(seed, duration, FetchEnd::NotSent);
        scenario.advance(seconds(if in_doubt { 260 } else { 60 }));
        let current = scenario.current().unwrap().generation();
        scenario.report(current, Evidence::Reported);
        prop_assert_eq!(scenario.current().is_none(), in_doubt);
    }

    /// A new token clears the doubt, a refusal does not.
    #[test]
    fn p08_only_a_token_clears_the_doubt(seed: u64, issued: bool) {
        let end = if issued { FetchEnd::Issue(seconds(7200)) } else { FetchEnd::Refuse(40164) };
        let mut scenario = with_lost_response(seed, 0, end);
        scenario.advance(seconds(300));
        prop_assert_eq!(scenario.status().is_in_doubt(scenario.now), !issued);
    }

    /// With `stable_token` a lost response invalidates nothing.
    #[test]
    fn p08_stable_tokens_are_never_in_doubt(seed: u64, planned in planned_fetches(), ops in ops()) {
        let mut scenario = Scenario::new(TokenEndpoint::StableToken, seed, planned);
        for op in &ops {
            scenario.apply(op);
            prop_assert!(!scenario.status().is_in_doubt(scenario.now));
        }
    }

    /// The rate of attempts is bounded for any responses, however fast.
    #[test]
    fn p09_attempt_rate_is_bounded(seed: u64, end in fetch_ends(), stable: bool) {
        let endpoint = if stable { TokenEndpoint::StableToken } else { TokenEndpoint::Token };
        let mut scenario = Scenario::with_token(endpoint, seed, 7200);
        scenario.default_fetch = PlannedFetch { duration: Duration::ZERO, end };
        scenario.advance(seconds(3 * 3600));
        let per_hour = scenario.fetches.len() / 3;
        prop_assert!(per_hour <= 400, "{} attempts an hour", per_hour);
    }

    /// However short the lifetimes are, fetches stay within the daily quota of 2 000. No token is served after
    /// its expiry, and callers in the gap get an error with a delay.
    #[test]
    fn p09_short_lifetimes_stay_within_the_quota(seed: u64, stable: bool, lifetime in 1_u64..=90, duration in 0_u64..250) {
        let (endpoint, quota) = match stable {
            true => (TokenEndpoint::StableToken, 8_700),
            false => (TokenEndpoint::Token, 1_500),
        };
        let mut scenario = Scenario::with_token(endpoint, seed, 60);
        scenario.default_fetch = PlannedFetch { duration: Duration::from_millis(duration), end: FetchEnd::Issue(seconds(lifetime)) };
        for _ in 0..1_440 {
            scenario.advance(seconds(60));
            let status = scenario.status();
            let has_delay = status.failure.is_some_and(|failure| failure.retry_after().is_some_and(|wait| wait <= seconds(60)));
            prop_assert!(scenario.current().is_some() || scenario.in_flight.is_some() || has_delay);
        }
        prop_assert!(scenario.fetches.len() <= quota, "{} fetches in a day", scenario.fetches.len());
        scenario.default_fetch = issue_token(7200);
        scenario.advance(seconds(130));
        prop_assert!(scenario.current().is_some());
    }

    /// An odd response never evicts a valid token.
    #[test]
    fn p09_odd_responses_evict_nothing(seed: u64, planned in planned_fetches()) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.planned = planned.into_iter().filter(|fetch| !matches!(fetch.end, FetchEnd::Issue(_) | FetchEnd::Same)).collect();
        scenario.default_fetch = quick_fetch(FetchEnd::Odd);
        let current = scenario.current().unwrap().generation();
        scenario.advance(seconds(7190));
        prop_assert_eq!(scenario.current().map(|token| token.generation()), Some(current));
    }

    /// A slow response does not extend the lifetime.
    #[test]
    fn p10_expiry_counts_from_the_request(seed: u64, duration in 0_u64..15, lifetime in 20_u64..7200) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, vec![PlannedFetch { duration: seconds(duration), end: FetchEnd::Issue(seconds(lifetime)) }]);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        scenario.handle(Event::TokenRequested);
        let requested_at = scenario.now;
        scenario.advance(seconds(duration + 1));
        prop_assert_eq!(scenario.current().unwrap().expires_at(), requested_at + seconds(lifetime));
    }

    /// Expiry by one clock is final. Setting the other clock back does not make the token valid again.
    #[test]
    fn p10_expired_token_stays_expired(seed: u64, jump in 0_u64..100_000, back in 0_u64..200_000) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        let ended = scenario.current().unwrap();
        // As after a suspension: the wall clock has advanced, the monotonic clock has not.
        scenario.now.wall = scenario.now.wall + seconds(jump);
        scenario.handle(Event::Timer);
        let is_expired = scenario.current().is_none();
        prop_assert_eq!(is_expired, jump >= 7199);
        scenario.now.wall = scenario.now.wall.before(seconds(back));
        scenario.advance(seconds(1));
        prop_assert_eq!(scenario.current().is_none(), is_expired);
        // With the wall clock set back, the monotonic clock decides.
        scenario.advance(seconds(7200));
        prop_assert!(scenario.current().is_none() && ended.expires_at().mono <= scenario.now.mono);
    }

    /// A new process knows the age of a stored token from the wall clock only. Expiry is final there, too.
    #[test]
    fn p10_expired_stored_token_stays_expired(seed: u64, over in 0_u64..100_000, back in 1_u64..200_000) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, vec![]);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        let requested_at = scenario.now.wall.before(seconds(7200 + over));
        let stored = StoredToken::new("T".parse().unwrap(), Generation::default().next(requested_at), requested_at, seconds(7200));
        scenario.handle(Event::StoreLoaded { token: Arc::new(stored.to_cached(scenario.now)), in_doubt_since: None, other_endpoint: None });
        scenario.now.wall = scenario.now.wall.before(seconds(back));
        scenario.handle(Event::StoreLoaded { token: Arc::new(stored.to_cached(scenario.now)), in_doubt_since: None, other_endpoint: None });
        prop_assert!(scenario.current().is_none());
    }

    /// A record from the future is of unknown age: it is served, refreshed at once, and its ttl is a minute at most.
    #[test]
    fn p10_future_record_is_served_and_refreshed_at_once(
        seed: u64,
        stable: bool,
        ahead in prop_oneof![61_u64..100_000, Just(u64::MAX / 1000)],
        lifetime in prop_oneof![1_u64..=7200, Just(u64::MAX)],
        minutes in 0_u64..200,
    ) {
        let endpoint = if stable { TokenEndpoint::StableToken } else { TokenEndpoint::Token };
        let mut scenario = Scenario::new(endpoint, seed, vec![]);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        scenario.load_record(scenario.now.wall + seconds(ahead), seconds(lifetime));
        prop_assert!(scenario.current().is_some() && scenario.in_flight.is_some());
        // It is served while there is no other, for one whole lifetime at most.
        for _ in 0..minutes {
            scenario.advance(seconds(60));
            prop_assert!(scenario.status().safe_ttl(scenario.now) <= seconds(60));
            prop_assert_eq!(scenario.current().is_some(), scenario.now.wall.since(scenario.fetches[0].0.wall) < seconds(lifetime.min(7200)));
        }
        let is_named = scenario.current().is_some_and(|current| {
            scenario.report(current.generation(), Evidence::Observed);
            scenario.count(|event| matches!(event, TokenEvent::InvalidatedExternally { .. })) > 0
        });
        prop_assert!(!is_named, "the age explains it");
        scenario.default_fetch = issue_token(7200);
        scenario.advance(seconds(70));
        prop_assert!(scenario.current().is_some_and(|current| current.has_known_age()));
        prop_assert!(scenario.status().safe_ttl(scenario.now) > seconds(3000));
    }

    /// Clocks that differ a little are no reason to fetch.
    #[test]
    fn p10_small_clock_skew_causes_no_fetch(seed: u64, ahead in 0_u64..=60) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, vec![]);
        scenario.load_record(scenario.now.wall + seconds(ahead), seconds(7200));
        scenario.advance(seconds(1800));
        prop_assert!(scenario.current().is_some() && scenario.fetches.is_empty());
    }

    /// No record makes a token live for more than two hours.
    #[test]
    fn p10_stored_lifetime_is_two_hours_at_most(seed: u64, ago in 0_u64..100_000, lifetime in 7200_u64..=u64::MAX) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, vec![]);
        scenario.load_record(scenario.now.wall.before(seconds(ago)), seconds(lifetime));
        prop_assert_eq!(scenario.current().is_some(), ago < 7200);
        prop_assert!(scenario.current().is_none_or(|current| current.remaining(scenario.now) <= seconds(7200 - ago)));
    }

    /// A wall clock set forward causes one early refresh, and no more.
    #[test]
    fn p10_clock_jump_causes_one_refresh(seed: u64, jump in 4000_u64..7000) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.now.wall = scenario.now.wall + seconds(jump);
        let fetches = scenario.fetches.len();
        scenario.advance(seconds(62));
        prop_assert_eq!(scenario.fetches.len(), fetches + 1);
        scenario.advance(seconds(1800));
        prop_assert_eq!(scenario.fetches.len(), fetches + 1);
    }

    /// No panic and no endless lifetime, from the year 1970 to 2106.
    #[test]
    fn p10_any_clock_jump_is_survived(seed: u64, planned in planned_fetches(), ops in ops(), wall in 0_u64..=4_300_000_000) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, planned);
        for (index, op) in ops.iter().enumerate() {
            if index == ops.len() / 2 {
                scenario.now.wall = UnixMillis::new(wall * 1000);
            }
            scenario.apply(op);
        }
        scenario.planned.clear();
        scenario.default_fetch = issue_token(7200);
        scenario.advance(seconds(400));
        scenario.handle(Event::TokenRequested);
        scenario.advance(seconds(120));
        let current = scenario.current();
        prop_assert!(current.is_some_and(|token| token.remaining(scenario.now) <= seconds(7200)));
    }

    /// A token that is rejected long before expiry, without an own attempt that explains it, was invalidated externally.
    #[test]
    fn p11_external_invalidation_is_named(seed: u64, after in 0_u64..3000, lost in prop::option::of(0_u64..340)) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        if let Some(ago) = lost {
            // An own fetch whose response was lost, and one that succeeded.
            scenario.planned.push_back(quick_fetch(FetchEnd::Lose));
            scenario.report(scenario.current().unwrap().generation(), Evidence::Reported);
            scenario.advance(seconds(ago.max(16)));
        } else {
            scenario.advance(seconds(after));
        }
        let current = scenario.current().unwrap().generation();
        scenario.report(current, Evidence::Observed);
        let named = scenario.count(|event| matches!(event, TokenEvent::InvalidatedExternally { generation, .. } if *generation == current));
        prop_assert_eq!(named, usize::from(lost.is_none()));
    }

    /// A rejection shortly before expiry is no external invalidation.
    #[test]
    fn p11_rejection_near_expiry_is_no_external_invalidation(seed: u64, left in 3_u64..600) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        scenario.advance(seconds(7199 - left));
        scenario.report(scenario.current().unwrap().generation(), Evidence::Observed);
        prop_assert_eq!(scenario.count(|event| matches!(event, TokenEvent::InvalidatedExternally { .. })), 0);
    }

    /// Not before the last 295 s, then about every 20 s until a new token comes. The same token is no new generation.
    #[test]
    fn p12_stable_token_is_fetched_near_expiry(seed: u64, lifetime in 600_u64..=7200) {
        let mut scenario = Scenario::with_token(TokenEndpoint::StableToken, seed, lifetime);
        scenario.default_fetch = quick_fetch(FetchEnd::Same);
        let current = scenario.current().unwrap();
        let lead = current.expires_at().mono.before(seconds(295));
        scenario.advance(lead.duration_since(scenario.now.mono) - seconds(1));
        prop_assert_eq!(scenario.fetches.len(), 1);
        scenario.advance(seconds(200));
        prop_assert_eq!(scenario.current().unwrap().generation(), current.generation());
        let attempts = scenario.fetches.len() - 1;
        prop_assert!((8..=14).contains(&attempts), "{} attempts in 200 s", attempts);
        scenario.default_fetch = issue_token(7200);
        scenario.advance(seconds(26));
        prop_assert!(scenario.current().unwrap().generation() > current.generation());
    }

    /// After a rejection it fetches as usual. If the same token comes again, one forced refresh follows, and the token is not served.
    #[test]
    fn p12_rejected_token_is_forced(seed: u64, forced_works: bool) {
        let mut scenario = Scenario::with_token(TokenEndpoint::StableToken, seed, 7200);
        let rejected = scenario.current().unwrap();
        scenario.planned.push_back(quick_fetch(FetchEnd::Same));
        scenario.planned.push_back(quick_fetch(if forced_works { FetchEnd::Issue(seconds(7200)) } else { FetchEnd::Same }));
        scenario.default_fetch = quick_fetch(FetchEnd::Same);
        scenario.report(rejected.generation(), Evidence::Observed);
        scenario.advance(seconds(1));
        let modes: Vec<_> = scenario.fetches[1..].iter().map(|(_, mode)| *mode).collect();
        prop_assert_eq!(modes, [RefreshMode::Normal, RefreshMode::Forced]);
        match scenario.current() {
            Some(current) => prop_assert!(forced_works && !current.token().ct_eq(rejected.token())),
            None => {
                let failure = scenario.status().failure.unwrap();
                let is_reissued = matches!(failure.kind(), TokenErrorKind::RejectedTokenReissued { .. });
                prop_assert!(!forced_works && is_reissued);
            }
        }
    }

    /// A report forces nothing: the reporter gets the error that the token is unchanged, and the token is still served.
    #[test]
    fn p12_report_forces_nothing(seed: u64) {
        let mut scenario = Scenario::with_token(TokenEndpoint::StableToken, seed, 7200);
        scenario.default_fetch = quick_fetch(FetchEnd::Same);
        let current = scenario.current().unwrap();
        let Some(ReportOutcome::Pending { failure_seq: reported_at_seq, .. }) = scenario.report(current.generation(), Evidence::Reported) else { panic!() };
        scenario.advance(seconds(1));
        let status = scenario.status();
        prop_assert_eq!(status.failure_seq, reported_at_seq + 1);
        let is_unchanged = matches!(status.failure.unwrap().kind(), TokenErrorKind::TokenUnchanged { .. });
        prop_assert!(is_unchanged);
        prop_assert!(scenario.fetches.iter().all(|(_, mode)| *mode == RefreshMode::Normal));
        prop_assert_eq!(scenario.current().unwrap().generation(), current.generation());
        scenario.handle(Event::TokenRequested);
        prop_assert!(scenario.current().is_some());
    }

    #[test]
    fn p13_next_generation_is_greater_and_no_earlier_than_its_request(known: u32, requested_at in 0_u64..1 << 50) {
        let next = Generation::new(u64::from(known)).next(UnixMillis::new(requested_at));
        prop_assert!(next.get() > u64::from(known) && next.get() >= requested_at);
    }

    /// Whatever number a record holds, a token that is fetched after it counts, here and for every other process.
    #[test]
    fn p13_any_stored_generation_allows_newer_ones(seed: u64, stored in prop_oneof![any::<u64>(), u64::MAX - 9..=u64::MAX, 0_u64..1 << 51]) {
        let endpoint = TokenEndpoint::Token;
        let (mut scenario, mut peer) = (Scenario::new(endpoint, seed, vec![]), Scenario::new(endpoint, seed, vec![]));
        for scenario in [&mut scenario, &mut peer] {
            let token = CachedToken::new(AccessToken::new("ODD").unwrap(), Generation::new(stored), scenario.now, seconds(60));
            scenario.handle(Event::StoreLoaded { token: Arc::new(token), in_doubt_since: None, other_endpoint: None });
        }
        for _ in 0..5 {
            scenario.handle(Event::TokenRequested);
            scenario.advance(seconds(4000));
            let current = scenario.current().unwrap();
            prop_assert!(current.generation() < Generation::MAX);
            peer.now = scenario.now;
            peer.handle(Event::StoreLoaded { token: Arc::clone(&current), in_doubt_since: None, other_endpoint: None });
            prop_assert!(peer.current().is_some_and(|token| token.token().ct_eq(current.token())));
        }
    }

    /// The served generation never goes back, whatever the clocks and the store do.
    #[test]
    fn p13_served_generation_never_goes_back(seed: u64, planned in planned_fetches(), ops in ops(), offered in any::<prop::sample::Index>()) {
        let mut scenario = Scenario::new(TokenEndpoint::Token, seed, planned);
        let (mut newest, mut earlier) = (Generation::default(), Vec::new());
        for op in &ops {
            scenario.apply(op);
            if let Some(current) = scenario.current() {
                prop_assert!(current.generation() >= newest, "{} after {}", current.generation(), newest);
                newest = current.generation();
                earlier.push(current);
            }
            if !earlier.is_empty() {
                // A slow writer stores an older generation with a recent time.
                let old: &Arc<CachedToken> = offered.get(&earlier);
                let late = CachedToken::new(old.token().clone(), old.generation(), scenario.now, seconds(7200));
                scenario.handle(Event::StoreLoaded { token: Arc::new(late), in_doubt_since: None, other_endpoint: None });
            }
        }
    }

    /// A newer token of a peer is adopted without a fetch, unless Weixin rejected it.
    #[test]
    fn p13_newer_stored_token_is_adopted(seed: u64, ahead in 1_u64..1_000_000, rejected: bool) {
        let mut scenario = Scenario::with_token(TokenEndpoint::Token, seed, 7200);
        scenario.default_fetch = quick_fetch(FetchEnd::NotSent);
        let current = scenario.current().unwrap();
        let fetches = scenario.fetches.len();
        let newer = Generation::new(current.generation().get() + ahead);
        let token = if rejected {
            scenario.report(current.generation(), Evidence::Observed);
            current.token().clone()
        } else {
            AccessToken::new("OTHER").unwrap()
        };
        scenario.handle(Event::StoreLoaded { token: Arc::new(CachedToken::new(token, newer, scenario.now, seconds(7200))), in_doubt_since: None, other_endpoint: None });
        match scenario.current() {
            Some(token) => prop_assert!(!rejected && token.generation() == newer && scenario.fetches.len() == fetches),
            None => prop_assert!(rejected),
        }
    }
}
