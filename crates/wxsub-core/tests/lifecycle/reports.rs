//! Reports and rejections whose effect depends on time.

use std::time::Duration;

use wxsub_core::token::{
    Action, Event, Evidence, FetchOutcome, ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent,
};

use super::life::*;

#[test]
fn report_without_token_gets_attempt_or_failure() {
    let mut life = Life::new(TokenEndpoint::Token);
    let commands = life.report_old();
    assert!(matches!(commands.first(), Some(Action::ResolveReport(ReportOutcome::Pending { .. }))));
    let order = fetch(commands);
    life.finish(&order, FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued));
    let commands = life.report_old();
    assert!(
        matches!(commands.as_slice(), [Action::ResolveReport(ReportOutcome::Rejected(_))]),
        "{commands:?}"
    );
    life.pass(life.due_in());
    fetch(life.tell(Event::Timer));
    let commands = life.report_old();
    assert!(
        matches!(commands.as_slice(), [Action::ResolveReport(ReportOutcome::Pending { .. })]),
        "{commands:?}"
    );
}

/// A peer fetched and got no token. The report still needs an attempt.
#[test]
fn report_survives_marker_of_peer() {
    let mut life = Life::holding();
    let order = fetch(life.report(Evidence::Reported));
    life.finish(&order, FetchOutcome::LeaseHeldByPeer);
    life.read(Some(life.now.wall));
    life.read(None);
    assert!(life.due_in() < seconds(5), "{:?}", life.due_in());
}

fn is_called_stolen(commands: Vec<Action>) -> bool {
    notices(commands).iter().any(|notice| matches!(notice, TokenEvent::InvalidatedExternally { .. }))
}

/// Five minutes of overlap, and one minute for the request.
#[test]
fn lost_response_explains_rejection_for_six_minutes() {
    for (later, stolen) in [(359_999, false), (360_000, true)] {
        let mut life = Life::holding();
        let order = fetch(life.report(Evidence::Reported));
        let asked = life.now;
        life.finish(&order, lost());
        life.now = asked + Duration::from_millis(later);
        assert_eq!(is_called_stolen(life.report(Evidence::Observed)), stolen, "{later} ms later");
    }
}

#[test]
fn rejection_near_expiry_is_no_external_invalidation() {
    for (age, stolen) in [(6_479, true), (6_480, false)] {
        let mut life = Life::holding();
        life.pass(seconds(age));
        assert_eq!(is_called_stolen(life.report(Evidence::Observed)), stolen, "{age} s old");
    }
}

#[test]
fn rate_limited_rejection_is_retried_when_allowed() {
    let mut life = Life::holding();
    for text in ["B", "C", "D", "E", "F"] {
        let order = fetch(life.report(Evidence::Reported));
        let issued = life.token(text, &order);
        life.finish(&order, FetchOutcome::Issued(issued));
    }
    life.pass(seconds(10));
    assert!(life.due_in() > seconds(60));
    life.report(Evidence::Observed);
    assert_eq!(life.due_in(), seconds(50));
}

/// Five reports have used up the rate limit. The last attempt fails `wait` before the next one is allowed.
fn rationed_for(wait: Duration) -> Life {
    let mut life = Life::holding();
    let start = life.now;
    for text in ["B", "C", "D", "E"] {
        let order = fetch(life.report(Evidence::Reported));
        let issued = life.token(text, &order);
        life.finish(&order, FetchOutcome::Issued(issued));
    }
    let order = fetch(life.report(Evidence::Reported));
    life.now = start + (seconds(60) - wait);
    life.finish(&order, FetchOutcome::Failed(TokenErrorKind::RateLimited(seconds(20))));
    life
}

/// That attempt is not caused by a report.
#[test]
fn scheduled_attempt_uses_no_rate_limit() {
    let wait = rationed_for(seconds(30)).due_in();
    let mut life = rationed_for(wait);
    life.report(Evidence::Observed);
    assert_eq!(life.due_in(), wait);
    life.pass(wait);
    let order = fetch(life.tell(Event::Timer));
    let issued = life.token("F", &order);
    life.finish(&order, FetchOutcome::Issued(issued));
    fetch(life.report(Evidence::Reported));
}
