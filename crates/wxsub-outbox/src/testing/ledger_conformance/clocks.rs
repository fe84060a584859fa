//! What becomes of times that the ledger's clock set while it was ahead. It was set back since.

use std::time::Duration;

use super::fixture::{Fixture, HOUR, MINUTE, not_sent};
use crate::ledger::{Applied, Change, NewMessage, NotDecided};
use crate::message::{DECISION_DELAY, NotDecidable, RESTORED_DECISION_DELAY};
use crate::state::{Decision, EventKind, MessageState};

/// By how much it was ahead.
const AHEAD: Duration = Duration::from_secs(400 * 24 * 3600);

pub(super) async fn a_message_waits_only_for_a_time_that_was_asked_for(fixture: &Fixture) {
    let in_an_hour = Some(fixture.now() + HOUR);
    let asked_for = |user| NewMessage { send_at: in_an_hour, ..fixture.new_message(user) };
    fixture.record(asked_for("a")).await.unwrap();
    fixture.clock.advance(AHEAD);
    let failed = fixture.claimed("b").await;
    fixture.settle(&failed, not_sent()).await.unwrap();
    let recorded = fixture.enqueue("c").await;
    fixture.record(asked_for("d")).await.unwrap();
    fixture.clock.set_back(AHEAD);
    assert!(fixture.claim(fixture.worker).await.is_empty());
    assert_eq!(fixture.apply(Change::Reschedule(1)).await, Applied::Count(1));
    assert_eq!(fixture.apply(Change::Reschedule(100)).await, Applied::Count(1));
    assert_eq!(fixture.apply(Change::Reschedule(100)).await, Applied::Count(0));
    let mut due: Vec<_> = fixture.claim(fixture.worker).await.iter().map(|message| message.id).collect();
    due.sort_unstable();
    assert_eq!(due, [failed.id, recorded]);
    let history = fixture.ledger.history(recorded).await.unwrap();
    let event = history.iter().find(|event| event.kind == EventKind::Requeued).unwrap();
    assert!(event.detail.as_ref().unwrap().contains("clock was set back"), "{event:?}");
    fixture.pass(HOUR).await;
    assert_eq!(fixture.claim(fixture.worker).await.len(), 2, "that was asked for");
}

/// Nothing tells how long ago an attempt or a restore was whose time is ahead. The first decision about it begins its delay anew.
pub(super) async fn a_decision_waits_anew_after_the_clock_was_set_back(fixture: &Fixture) {
    let recent = fixture.maybe_sent("o").await;
    fixture.clock.set_back(MINUTE);
    let decide = async |id| fixture.decide(fixture.new_decision(id, Decision::GiveUp)).await.map(drop);
    let too_early = |delay| Err(NotDecided::NotDecidable(NotDecidable::TooEarly(fixture.now() + delay)));
    assert_eq!(decide(recent.id).await, too_early(DECISION_DELAY + MINUTE));
    fixture.clock.advance(AHEAD);
    let attempted = fixture.maybe_sent("p").await;
    let by_policy = fixture.maybe_sent("q").await;
    fixture.clock.set_back(AHEAD);
    let policy = || Change::ApplyPolicy(fixture.appid.clone(), Decision::GiveUp, 100);
    assert_eq!(decide(attempted.id).await, too_early(DECISION_DELAY));
    assert_eq!(fixture.messages(policy()).await, []);
    fixture.pass(DECISION_DELAY).await;
    assert_eq!(decide(attempted.id).await, Ok(()));
    let decided = fixture.messages(policy()).await;
    assert_eq!(decided.iter().map(|message| message.id).collect::<Vec<_>>(), [by_policy.id]);
    let restored = [fixture.enqueue("r").await, fixture.enqueue("s").await];
    fixture.clock.advance(AHEAD);
    fixture.apply(Change::Restore).await;
    fixture.clock.set_back(AHEAD);
    assert_eq!(decide(restored[0]).await, too_early(RESTORED_DECISION_DELAY));
    assert_eq!(fixture.messages(policy()).await, []);
    fixture.pass(RESTORED_DECISION_DELAY).await;
    assert_eq!(decide(restored[0]).await, Ok(()));
    assert_eq!(fixture.messages(policy()).await.len(), 2, "that of the first part, and a restored one");
    assert_eq!(fixture.app().await.undecided, 0);
    assert!(fixture.all().await.iter().all(|message| message.state == MessageState::MaybeSent));
}
