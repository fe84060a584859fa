//! The table of a message's transitions, cell by cell.

use std::sync::Arc;

use wxsub_core::testing::ManualClock;

use super::fixture::{Fixture, HOUR, MINUTE, SECOND, Seen, not_accepted, not_sent, refused, unknown};
use crate::ledger::{Change, Gone, Ledger, LedgerError, NewMessage};
use crate::message::{DEFAULT_LIFETIME, NotAccepted, Settlement, StoredMessage};
use crate::state::{Decision, GrantState, MessageState, Priority, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Queued,
    Attempting,
    Synchronous,
    Sent,
    Refused,
    MaybeSent,
    MaybeSentSynchronous,
    Decided(Decision),
    NotSent,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Claim,
    Sent,
    Refused(i64),
    NotSent,
    NotAccepted(NotAccepted),
    Unknown,
    Reclaim,
    Expire,
    Cancel,
    Decide(Decision),
    Restore,
}

const STARTS: [Start; 12] = [
    Start::Queued,
    Start::Attempting,
    Start::Synchronous,
    Start::Sent,
    Start::Refused,
    Start::MaybeSent,
    Start::MaybeSentSynchronous,
    Start::Decided(Decision::AssumeSent),
    Start::Decided(Decision::GiveUp),
    Start::Decided(Decision::SendAgain),
    Start::NotSent,
    Start::Cancelled,
];

const EVENTS: [Event; 17] = [
    Event::Claim,
    Event::Sent,
    Event::Refused(43101),
    Event::Refused(40037),
    Event::NotSent,
    Event::NotAccepted(NotAccepted::StaleToken),
    Event::NotAccepted(NotAccepted::DailyQuota),
    Event::NotAccepted(NotAccepted::MinuteQuota),
    Event::NotAccepted(NotAccepted::NoToken),
    Event::Unknown,
    Event::Reclaim,
    Event::Expire,
    Event::Cancel,
    Event::Decide(Decision::AssumeSent),
    Event::Decide(Decision::GiveUp),
    Event::Decide(Decision::SendAgain),
    Event::Restore,
];

/// What the event makes of the message and its grant; `None` if it leaves them as they are.
fn expected(start: Start, event: Event) -> Option<Seen> {
    use GrantState::{Attempting, InDoubt, Open, Reserved, Used, Void};
    let seen = |state, reason, grant| Some((state, reason, Some(grant)));
    let refusal = |code| if code == 43101 { Void } else { Open };
    match (start, event) {
        (Start::Queued, Event::Claim) => seen(MessageState::Attempting, None, Attempting),
        (Start::Queued, Event::Expire) => seen(MessageState::NotSent, Some(Reason::Expired), Open),
        (Start::Queued, Event::Cancel) => seen(MessageState::Cancelled, None, Open),
        (Start::Queued | Start::Attempting | Start::Synchronous, Event::Restore) => {
            seen(MessageState::MaybeSent, Some(Reason::Restored), InDoubt)
        }
        (Start::Attempting | Start::Synchronous, Event::Sent) => seen(MessageState::Sent, None, Used),
        (Start::Attempting | Start::Synchronous, Event::Refused(code)) => {
            seen(MessageState::Refused, None, refusal(code))
        }
        (Start::Attempting | Start::Synchronous, Event::Unknown) => {
            seen(MessageState::MaybeSent, Some(Reason::ResponseLost), InDoubt)
        }
        (Start::Attempting | Start::Synchronous, Event::Reclaim) => {
            seen(MessageState::MaybeSent, Some(Reason::WorkerLost), InDoubt)
        }
        (Start::Attempting, Event::NotSent | Event::NotAccepted(_)) => {
            seen(MessageState::Queued, None, Reserved)
        }
        (Start::Synchronous, Event::NotSent | Event::NotAccepted(NotAccepted::NoToken)) => {
            seen(MessageState::NotSent, Some(Reason::Synchronous), Open)
        }
        (Start::Synchronous, Event::NotAccepted(_)) => seen(MessageState::Refused, None, Open),
        (Start::MaybeSent | Start::MaybeSentSynchronous, Event::Sent) => seen(MessageState::Sent, None, Used),
        (Start::MaybeSent | Start::MaybeSentSynchronous, Event::Refused(code)) => {
            seen(MessageState::Refused, None, refusal(code))
        }
        (Start::MaybeSent | Start::MaybeSentSynchronous, Event::NotSent | Event::NotAccepted(_)) => {
            seen(MessageState::NotSent, Some(Reason::Late), Open)
        }
        (Start::MaybeSent | Start::MaybeSentSynchronous, Event::Decide(decision)) => {
            let grant = match decision {
                Decision::AssumeSent => Used,
                Decision::GiveUp => Void,
                // The message that is sent again has it.
                Decision::SendAgain => Reserved,
            };
            seen(MessageState::MaybeSent, Some(Reason::ResponseLost), grant)
        }
        (Start::Decided(Decision::SendAgain), Event::Restore) => {
            seen(MessageState::MaybeSent, Some(Reason::ResponseLost), InDoubt)
        }
        (Start::Refused | Start::NotSent | Start::Cancelled, Event::Restore) => {
            let (state, reason) = match start {
                Start::Refused => (MessageState::Refused, None),
                Start::NotSent => (MessageState::NotSent, Some(Reason::Failures)),
                _ => (MessageState::Cancelled, None),
            };
            seen(state, reason, InDoubt)
        }
        // The child is claimed, expires and is cancelled by itself; its parent has no part in it.
        _ => None,
    }
}

impl Fixture {
    async fn start(&self, start: Start) -> StoredMessage {
        let user = "o";
        self.consent(user).await;
        let synchronous = matches!(start, Start::Synchronous | Start::MaybeSentSynchronous);
        let new = self.new_message(user);
        let id = new.id;
        let recorded = if synchronous { self.begin(new).await } else { self.record(new).await };
        let recorded = recorded.unwrap().message().clone();
        match start {
            Start::Queued | Start::Synchronous => return recorded,
            Start::Cancelled => {
                return self.cancel(id).await.unwrap();
            }
            _ => {}
        }
        let claimed = if synchronous { recorded } else { self.claim_one(id).await };
        let settlement = match start {
            Start::Sent => Settlement::Sent,
            Start::Refused => refused(40037),
            Start::NotSent => not_sent(),
            Start::MaybeSent | Start::MaybeSentSynchronous | Start::Decided(_) => unknown(),
            _ => return claimed,
        };
        self.settle_with(&claimed, settlement, 1).await.unwrap();
        if let Start::Decided(decision) = start {
            self.decide_later(id, decision).await;
        }
        self.get(id).await
    }

    /// The owner is the worker, whatever the row says.
    async fn event(&self, message: &StoredMessage, event: Event) {
        let claimed = StoredMessage { worker: Some(self.worker), ..message.clone() };
        let settlement = match event {
            Event::Sent => Settlement::Sent,
            Event::Refused(code) => refused(code),
            Event::NotSent => not_sent(),
            Event::NotAccepted(why) => not_accepted(why),
            Event::Unknown => unknown(),
            Event::Claim => {
                return drop(self.claim(self.worker).await);
            }
            Event::Reclaim => {
                self.apply(Change::MarkGone(Gone::One(self.worker))).await;
                return drop(self.apply(Change::Reclaim(100)).await);
            }
            Event::Expire => {
                self.clock.advance(DEFAULT_LIFETIME);
                return drop(self.apply(Change::Expire(100)).await);
            }
            Event::Cancel => {
                return drop(self.cancel(message.id).await);
            }
            Event::Decide(decision) => {
                self.clock.advance(HOUR);
                return drop(
                    self.apply(Change::Decide(Box::new(self.new_decision(message.id, decision)))).await,
                );
            }
            Event::Restore => return drop(self.apply(Change::Restore).await),
        };
        self.settle(&claimed, settlement).await;
    }
}

/// The whole table: each event in each state, with what it makes of the message and its grant.
pub(super) async fn every_event_in_every_state(make: &impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Ledger>) {
    for start in STARTS {
        for event in EVENTS {
            let child_acts = matches!(start, Start::Decided(Decision::SendAgain))
                && matches!(event, Event::Claim | Event::Expire);
            if child_acts {
                continue;
            }
            let fixture = Fixture::new(make).await;
            let message = fixture.start(start).await;
            let before = fixture.seen(message.id).await;
            fixture.event(&message, event).await;
            let after = fixture.seen(message.id).await;
            assert_eq!(after, expected(start, event).unwrap_or(before), "{event:?} in {start:?}");
        }
    }
}

pub(super) async fn failures_count_up_to_the_limit(fixture: &Fixture) {
    fixture.consent("o").await;
    let id = fixture.enqueue("o").await;
    for failure in 1..=3 {
        let claimed = fixture.claim_one(id).await;
        let settled = fixture.settle_with(&claimed, not_sent(), 3).await.unwrap();
        assert_eq!((settled.failures, settled.attempt), (failure, failure));
        fixture.pass(MINUTE).await;
    }
    let seen = (MessageState::NotSent, Some(Reason::Failures), Some(GrantState::Open));
    assert_eq!(fixture.seen(id).await, seen);
    // What Weixin did not accept is no failure, and has no limit.
    let id = fixture.enqueue("o").await;
    for attempt in 1..=5 {
        let claimed = fixture.claim_one(id).await;
        let settled = fixture.settle_with(&claimed, not_accepted(NotAccepted::NoToken), 3).await.unwrap();
        assert_eq!((settled.failures, settled.attempt), (0, attempt));
        fixture.pass(2 * MINUTE).await;
    }
}

pub(super) async fn the_pause_after_a_failure_grows(fixture: &Fixture) {
    let id = fixture.enqueue("o").await;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let claimed = fixture.claim_one(id).await;
        let settled = fixture.settle(&claimed, not_sent()).await.unwrap();
        let pause = settled.due_at.since(fixture.now());
        assert!(fixture.claim(fixture.worker).await.is_empty(), "claimed before its pause was over");
        pauses.push(pause);
        fixture.pass(pause).await;
    }
    assert!(pauses[0] <= SECOND && pauses[3] > 4 * SECOND && pauses[11] <= 15 * MINUTE, "{pauses:?}");
    assert!(pauses.is_sorted(), "{pauses:?}");
}

pub(super) async fn an_expired_message_is_not_tried_again(fixture: &Fixture) {
    let (soon, now) =
        (NewMessage { expires_at: Some(fixture.now() + MINUTE), ..fixture.new_message("o") }, fixture.now());
    let id = fixture.record(soon).await.unwrap().message().id;
    let claimed = fixture.claim_one(id).await;
    fixture.pass(MINUTE).await;
    let settled = fixture.settle(&claimed, not_sent()).await.unwrap();
    assert_eq!((settled.state, settled.reason), (MessageState::NotSent, Some(Reason::Expired)));
    let queued = NewMessage { expires_at: Some(now + 2 * MINUTE), ..fixture.new_message("p") };
    let id = fixture.record(queued).await.unwrap().message().id;
    fixture.pass(MINUTE).await;
    assert!(fixture.claim(fixture.worker).await.is_empty(), "an expired message was claimed");
    let expired = fixture.messages(Change::Expire(100)).await;
    assert_eq!(expired.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
}

pub(super) async fn a_settlement_of_an_earlier_attempt_is_refused(fixture: &Fixture) {
    let other = fixture.register().await;
    fixture.consent("o").await;
    let id = fixture.enqueue("o").await;
    let first = fixture.claim_one(id).await;
    fixture.settle(&first, not_sent()).await.unwrap();
    fixture.pass(MINUTE).await;
    let second = fixture.claim_one(id).await;
    let foreign = StoredMessage { worker: Some(other), ..second.clone() };
    for settlement in [Settlement::Sent, not_sent(), unknown(), refused(43101)] {
        assert_eq!(fixture.settle(&first, settlement.clone()).await, None, "{settlement:?}");
        assert_eq!(fixture.settle(&foreign, settlement.clone()).await, None, "{settlement:?}");
    }
    assert_eq!(fixture.get(id).await, second);
}

pub(super) async fn a_final_message_keeps_no_body(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    assert!(claimed.body.is_some());
    assert!(fixture.settle(&claimed, Settlement::Sent).await.unwrap().body.is_none());
    let undecided = fixture.maybe_sent("p").await;
    assert!(undecided.body.is_some(), "an undecided message may be sent again");
    let (decided, child) = fixture.decide_later(undecided.id, Decision::SendAgain).await;
    assert!(decided.body.is_none() && child.unwrap().body.is_some());
}

pub(super) async fn a_failed_change_is_undone_alone(fixture: &Fixture) {
    fixture.consent("o").await;
    let (one, two) = (fixture.new_message("p"), fixture.new_message("q"));
    let ids = [one.id, two.id];
    let cannot = Change::ApplyPolicy(fixture.appid.clone(), Decision::SendAgain, 9);
    let batch = vec![Change::Enqueue(Box::new(one)), cannot, Change::Enqueue(Box::new(two))];
    let applied = fixture.ledger.commit(batch).await.unwrap();
    assert!(matches!(applied[1], Err(LedgerError::Inconsistent(_))), "{:?}", applied[1]);
    let recorded: Vec<_> = fixture.all().await.iter().map(|message| (message.id, message.priority)).collect();
    assert_eq!(recorded, ids.map(|id| (id, Priority::Normal)));
}
