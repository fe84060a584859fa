//! "That one no longer works", where what follows depends on a moment.

use std::time::Duration;

use wxsub_core::token::{
    Action, Event, Evidence, FetchOutcome, ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent,
};

use super::life::*;

#[test]
fn whoever_reports_while_nothing_is_held_hears_of_the_attempt_or_the_failure() {
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

/// Another process was fetching and got no token: the claim is still to be carried out.
#[test]
fn a_claim_is_not_forgotten_when_the_mark_of_another_comes_and_goes() {
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

/// Five minutes of overlap, and one to arrive.
#[test]
fn a_lost_reply_explains_a_dead_token_for_six_minutes() {
    for (later, stolen) in [(359_999, false), (360_000, true)] {
        let mut life = Life::holding();
        let order = fetch(life.report(Evidence::Reported));
        let asked = life.now;
        life.finish(&order, lost());
        life.now = asked.after(Duration::from_millis(later));
        assert_eq!(is_called_stolen(life.report(Evidence::Observed)), stolen, "{later} ms later");
    }
}

#[test]
fn a_token_in_the_last_tenth_of_its_life_was_stolen_by_nobody() {
    for (age, stolen) in [(6_479, true), (6_480, false)] {
        let mut life = Life::holding();
        life.pass(seconds(age));
        assert_eq!(is_called_stolen(life.report(Evidence::Observed)), stolen, "{age} s old");
    }
}

#[test]
fn a_rejection_beyond_the_ration_is_followed_up_as_soon_as_there_is_one() {
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

/// Five claims have used the ration up. The last attempt fails at the moment that leaves `wait` until the next is allowed.
fn rationed_for(wait: Duration) -> Life {
    let mut life = Life::holding();
    let start = life.now;
    for text in ["B", "C", "D", "E"] {
        let order = fetch(life.report(Evidence::Reported));
        let issued = life.token(text, &order);
        life.finish(&order, FetchOutcome::Issued(issued));
    }
    let order = fetch(life.report(Evidence::Reported));
    life.now = start.after(seconds(60) - wait);
    life.finish(&order, FetchOutcome::Failed(TokenErrorKind::RateLimited(seconds(20))));
    life
}

/// That attempt is on nobody's report.
#[test]
fn an_attempt_that_comes_as_soon_anyway_takes_nothing_from_the_ration() {
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
