//! Outcomes of attempts.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::token::{
    CachedToken, Event, Evidence, FetchOutcome, Generation, RefreshMode, TokenEndpoint, TokenErrorKind,
};

use super::life::*;

#[test]
fn no_attempt_is_planned_during_an_attempt() {
    let mut life = Life::new(TokenEndpoint::Token);
    life.wanted();
    life.tell(Event::TokenRequested);
    assert_eq!(life.status().next_attempt_at, None);
}

#[test]
fn outcome_of_an_earlier_attempt_is_ignored() {
    let mut life = Life::new(TokenEndpoint::Token);
    let first = life.wanted();
    life.finish(&first, not_sent());
    life.pass(seconds(1));
    fetch(life.tell(Event::Timer));
    life.finish(&first, not_sent());
    assert!(life.status().fetching);
}

#[test]
fn two_fast_failures_are_silent() {
    for (between, announced) in [(9_999, 0), (10_000, 1)] {
        let mut life = Life::new(TokenEndpoint::Token);
        let first = life.wanted();
        let failed = life.now;
        life.finish(&first, not_sent());
        assert!((100..=300).contains(&life.due_in().as_millis()));
        life.pass(life.due_in());
        let second = fetch(life.tell(Event::Timer));
        life.now = failed + Duration::from_millis(between);
        life.finish(&second, not_sent());
        assert_eq!(life.status().failure_seq, announced);
        assert!(life.due_in() >= Duration::from_millis(200));
    }
}

/// No attempt has failed, so a caller waits for the next attempt, which starts at once.
#[test]
fn expiry_without_failed_attempt_is_no_failure() {
    let mut life = Life::holding();
    let order = fetch(life.report(Evidence::Reported));
    life.finish(&order, FetchOutcome::Issued(life.held()));
    assert!(life.status().failure.is_some(), "there is no other token than the one reported");
    life.pass(seconds(4_000));
    let order = fetch(life.tell(Event::Timer));
    life.pass(seconds(3_199));
    life.finish(&order, FetchOutcome::LeaseHeldByPeer);
    assert!(life.due_in() > seconds(1));
    life.pass(seconds(1));
    fetch(life.tell(Event::Timer));
    assert!(life.status().failure.is_none());
}

#[test]
fn expiry_after_failures_keeps_failure_and_retry_delay() {
    let mut life = Life::holding();
    life.pass(seconds(7_195));
    let order = fetch(life.tell(Event::Timer));
    life.finish(&order, FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued));
    let planned = life.status().next_attempt_at;
    life.pass(seconds(5));
    life.tell(Event::Timer);
    let status = life.status();
    assert!(status.current.is_none() && status.failure.is_some() && status.next_attempt_at == planned);
}

#[test]
fn older_or_expired_token_is_not_adopted() {
    let look_again = Duration::from_millis(100);
    for (found, adopted) in [(1, false), (2, true), (3, true)] {
        let mut life = Life::holding();
        let order = fetch(life.report(Evidence::Reported));
        life.tell(Event::StoreLoaded { token: Arc::new(stored(&life, 2)), in_doubt_since: None });
        let known = life.held().generation().get();
        let issued = CachedToken::new(
            "F".parse().unwrap(),
            Generation::new(known - 2 + found),
            life.now,
            seconds(7200),
        );
        life.finish(
            &order,
            FetchOutcome::Adopted { token: Arc::new(issued), in_doubt_since: None, lost_race: false },
        );
        assert_eq!(
            (life.held().token().expose_secret() == "F", life.due_in() > look_again),
            (adopted, adopted)
        );
    }
    for over in [true, false] {
        let mut life = Life::holding();
        let rejected = life.held();
        let order = fetch(life.report(Evidence::Observed));
        let token = if over { "OVER".parse().unwrap() } else { rejected.token().clone() };
        let lives = seconds(if over { 0 } else { 7200 });
        let issued = CachedToken::new(token, order.known.next(life.now.wall), life.now, lives);
        life.finish(
            &order,
            FetchOutcome::Adopted { token: Arc::new(issued), in_doubt_since: None, lost_race: false },
        );
        assert!(life.status().current.is_none());
        assert_eq!(life.due_in(), look_again);
    }
}

/// It is unknown which of the two Weixin issued later. With `stable_token` it does not matter.
#[test]
fn superseded_token_puts_current_token_in_doubt() {
    for (endpoint, held, suspect) in [
        (TokenEndpoint::Token, true, true),
        (TokenEndpoint::Token, false, false),
        (TokenEndpoint::StableToken, true, false),
    ] {
        let mut life = Life::holding_of(endpoint);
        let order = fetch(life.report(if held { Evidence::Reported } else { Evidence::Observed }));
        let overtaken = life.token("B", &order);
        let lives = seconds(if held { 7200 } else { 0 });
        let newer = CachedToken::new(
            "C".parse().unwrap(),
            order.known.next(life.now.wall + seconds(1)),
            life.now,
            lives,
        );
        life.tell(Event::StoreLoaded { token: Arc::new(newer), in_doubt_since: None });
        life.finish(&order, FetchOutcome::Issued(overtaken));
        assert_eq!(life.status().in_doubt_from.is_some(), suspect, "{endpoint:?}, held: {held}");
        assert!(life.due_in() <= seconds(5));
    }
}

/// The same token again, and then no response to the forced call. Together they took long enough for an event.
#[test]
fn forced_attempt_counts_from_the_first_attempt() {
    for (took, is_reported) in [(14, true), (2, false)] {
        let mut life = Life::holding_of(TokenEndpoint::StableToken);
        let same = life.held();
        let order = fetch(life.report(Evidence::Observed));
        life.pass(seconds(took));
        let order = fetch(life.finish(&order, FetchOutcome::Issued(same)));
        assert_eq!(order.mode, RefreshMode::Forced);
        life.pass(seconds(took));
        life.finish(&order, lost());
        assert_eq!(life.status().failure.is_some(), is_reported, "{took} s each");
    }
}
