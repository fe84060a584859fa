//! What is deleted, and what is kept.

use std::time::Duration;

use super::fixture::{DAY, Fixture, HOUR, SECOND, refused, unknown};
use crate::grant::Consent;
use crate::id::MessageId;
use crate::ledger::{Change, Gone, NotRecorded, PruneReport, Recorded};
use crate::message::Settlement;
use crate::retention::Retention;
use crate::state::{Decision, GrantState, MessageState};

impl Fixture {
    async fn ended(&self, user: &str, settlement: Settlement) -> MessageId {
        let claimed = self.claimed(user).await;
        self.settle_with(&claimed, settlement, 1).await.unwrap().id
    }
}

pub(super) async fn messages_are_kept_by_their_state(fixture: &Fixture) {
    let sent = fixture.ended("a", Settlement::Sent).await;
    let refused = fixture.ended("b", refused(40037)).await;
    let undecided = fixture.ended("c", unknown()).await;
    let decided = fixture.ended("d", unknown()).await;
    fixture.decide_later(decided, Decision::AssumeSent).await;
    let queued = fixture.enqueue("e").await;
    let remaining =
        async || fixture.all().await.into_iter().map(|message| message.id).collect::<Vec<MessageId>>();
    fixture.pass(30 * DAY - HOUR - SECOND).await;
    assert_eq!(fixture.prune(1_000).await, PruneReport::default());
    fixture.pass(SECOND).await;
    assert_eq!(fixture.prune(1_000).await.messages, 1);
    assert_eq!(remaining().await, [refused, undecided, decided, queued]);
    assert!(fixture.ledger.history(sent).await.unwrap().is_empty(), "its history goes with it");
    fixture.pass(60 * DAY).await;
    fixture.prune(1_000).await;
    assert_eq!(remaining().await, [undecided, decided, queued]);
    fixture.pass(275 * DAY + HOUR).await;
    fixture.prune(1_000).await;
    assert_eq!(remaining().await, [undecided, queued], "what is not over is kept for ever");
    let counts = fixture.app().await.counts;
    assert_eq!(counts, [(MessageState::Queued, 1), (MessageState::MaybeSent, 1)].into());
}

pub(super) async fn rows_are_deleted_in_small_batches(fixture: &Fixture) {
    for user in ["a", "b", "c"] {
        fixture.ended(user, Settlement::Sent).await;
    }
    fixture.ended("d", refused(40037)).await;
    fixture.pass(365 * DAY).await;
    let mut deleted = Vec::new();
    for _ in 0..3 {
        deleted.push(fixture.prune(3).await.messages);
    }
    assert_eq!((deleted, fixture.all().await.len()), (vec![3, 1, 0], 0));
}

pub(super) async fn a_key_waits_for_its_message_and_the_children(fixture: &Fixture) {
    let again = async || fixture.record(fixture.with_key("k", fixture.new_message("o"))).await;
    let first = again().await.unwrap().message().id;
    let claimed = fixture.claim_one(first).await;
    fixture.settle(&claimed, unknown()).await.unwrap();
    fixture.pass(10 * DAY).await;
    assert_eq!(fixture.prune(1_000).await.keys, 0, "it is undecided");
    let (_, child) = fixture.decide(fixture.new_decision(first, Decision::SendAgain)).await.unwrap();
    fixture.pass(8 * DAY).await;
    assert_eq!(fixture.prune(1_000).await.keys, 0, "its child has not ended");
    let claimed = fixture.claim(fixture.worker).await;
    assert!(claimed.is_empty(), "it has expired");
    fixture.apply(Change::Expire(9)).await;
    fixture.pass(7 * DAY - SECOND).await;
    assert_eq!(fixture.prune(1_000).await.keys, 0);
    assert!(matches!(again().await, Ok(Recorded::Replayed(_))));
    // The ledger looks again in time, not with each prune.
    fixture.pass(DAY).await;
    assert_eq!(fixture.prune(1_000).await.keys, 1);
    assert!(matches!(again().await, Ok(Recorded::New(_))));
    assert_eq!(fixture.get(first).await.decision.unwrap().child, Some(child.unwrap().id));
}

pub(super) async fn a_message_is_kept_as_long_as_its_key(fixture: &Fixture) {
    let keyed = fixture.with_key("k", fixture.new_message("o"));
    let id = fixture.record(keyed).await.unwrap().message().id;
    let claimed = fixture.claim_one(id).await;
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    let retention = Retention { sent: Duration::ZERO, key: 10 * DAY, ..Retention::default() };
    let prune = async || {
        let report: PruneReport = fixture.apply_for(Change::Prune(retention, 9)).await;
        (report.keys, report.messages)
    };
    fixture.pass(9 * DAY).await;
    assert_eq!(prune().await, (0, 0));
    fixture.pass(DAY).await;
    assert_eq!(prune().await, (1, 1));
}

pub(super) async fn a_nonce_is_known_as_long_as_its_grant(fixture: &Fixture) {
    let nonce = fixture.nonce();
    fixture.consent_with("o", Some(nonce)).await;
    fixture.pass(365 * DAY).await;
    assert_eq!(fixture.prune(1_000).await.grants, 0, "it is open");
    let claimed = fixture.claim_one(fixture.enqueue("o").await).await;
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert!(matches!(fixture.consent_with("o", Some(nonce)).await, Consent::AlreadyRecorded(_)));
    assert_eq!(fixture.prune(1_000).await.grants, 1);
    assert!(fixture.grants("o").await.is_empty());
    assert!(matches!(fixture.consent_with("o", Some(nonce)).await, Consent::Recorded(_)));
}

/// The older grant would become open again for want of a newer one.
pub(super) async fn a_grant_newer_than_one_in_doubt_is_kept(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    fixture.consent("o").await;
    let newer = fixture.claim_one(fixture.enqueue("o").await).await;
    fixture.settle(&newer, Settlement::Sent).await.unwrap();
    fixture.pass(365 * DAY).await;
    assert_eq!(fixture.prune(1_000).await.grants, 0);
    fixture.decide(fixture.new_decision(undecided.id, Decision::GiveUp)).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Void, GrantState::Used]);
    assert_eq!(fixture.prune(1_000).await.grants, 2);
}

pub(super) async fn a_gone_worker_is_deleted(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    fixture.apply(Change::MarkGone(Gone::One(fixture.worker))).await;
    fixture.clock.advance(DAY - SECOND);
    assert_eq!(fixture.prune(1_000).await.workers, 0);
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.prune(1_000).await.workers, 1);
    assert_eq!(
        fixture.messages(Change::Reclaim(9)).await.len(),
        1,
        "its attempts are reclaimed all the same"
    );
    assert_eq!(fixture.settle(&claimed, Settlement::Sent).await.unwrap().state, MessageState::Sent);
    let refused = fixture.begin(fixture.new_message("p")).await;
    assert_eq!(refused, Err(NotRecorded::WorkerGone), "it never comes back");
}
