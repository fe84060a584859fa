//! Idempotency keys.

use super::fixture::{Fixture, new, not_accepted, not_sent, refused, replayed, unknown};
use crate::ledger::{Change, NewMessage, NotRecorded, Recorded};
use crate::message::{NotAccepted, Settlement};
use crate::state::{Decision, MessageState, Priority};

impl Fixture {
    /// The same request once more: another id, the same key and content.
    async fn again(&self, user: &str) -> Result<Recorded, NotRecorded> {
        self.record(self.with_key("order-4711", self.new_message(user))).await
    }

    async fn begin_again(&self, user: &str) -> Result<Recorded, NotRecorded> {
        self.begin(self.with_key("order-4711", self.new_message(user))).await
    }
}

pub(super) async fn the_same_key_is_the_same_message(fixture: &Fixture) {
    fixture.consent("o").await;
    let first = new(fixture.again("o").await);
    assert_eq!(first.idempotency_key.as_ref().unwrap().as_str(), "order-4711");
    assert_eq!(replayed(fixture.again("o").await), first);
    let claimed = fixture.claim_one(first.id).await;
    assert_eq!(replayed(fixture.again("o").await).state, MessageState::Attempting);
    fixture.settle(&claimed, unknown()).await.unwrap();
    assert_eq!(replayed(fixture.again("o").await).state, MessageState::MaybeSent);
    let (_, child) = fixture.decide_later(first.id, Decision::SendAgain).await;
    let decided = replayed(fixture.again("o").await);
    assert_eq!(decided.decision.unwrap().child, Some(child.unwrap().id));
    assert_eq!(fixture.all().await.len(), 2, "no request made another message");
}

pub(super) async fn another_content_under_a_key_is_refused(fixture: &Fixture) {
    let first = new(fixture.again("o").await);
    let other = fixture.with_key("order-4711", fixture.new_message("p"));
    assert_eq!(fixture.record(other).await, Err(NotRecorded::KeyReused(first.id)));
    let urgent = NewMessage { priority: Priority::High, ..fixture.new_message("o") };
    let urgent = fixture.with_key("order-4711", urgent);
    assert_eq!(fixture.record(urgent).await, Err(NotRecorded::KeyReused(first.id)));
    let mut client = fixture.with_key("order-4711", fixture.new_message("p"));
    client.key.as_mut().unwrap().client = "another".to_owned();
    new(fixture.record(client).await);
}

pub(super) async fn a_message_that_was_not_sent_is_replaced(fixture: &Fixture) {
    fixture.consent("o").await;
    let mut before = new(fixture.begin_again("o").await);
    for settlement in
        [not_sent(), not_accepted(NotAccepted::DailyQuota), not_accepted(NotAccepted::StaleToken)]
    {
        fixture.settle(&before, settlement).await.unwrap();
        fixture.apply(Change::Resume(fixture.appid.clone())).await;
        let next = new(fixture.begin_again("o").await);
        assert_eq!((next.parent_id, next.state), (Some(before.id), MessageState::Attempting));
        before = next;
    }
    fixture.settle(&before, refused(40037)).await.unwrap();
    assert_eq!(replayed(fixture.begin_again("o").await).id, before.id, "any other refusal is final");
    fixture.settle(&before, Settlement::Sent).await;
    assert_eq!(replayed(fixture.begin_again("o").await).state, MessageState::Refused);
}

pub(super) async fn a_refused_message_stores_no_key(fixture: &Fixture) {
    let require = NewMessage { require_grant: true, ..fixture.new_message("o") };
    assert!(fixture.record(fixture.with_key("order-4711", require.clone())).await.is_err());
    assert!(fixture.all().await.is_empty());
    fixture.consent("o").await;
    new(fixture.record(fixture.with_key("order-4711", require)).await);
}

/// What a caller does whose commit reply was lost.
pub(super) async fn the_same_id_is_the_same_message(fixture: &Fixture) {
    fixture.consent("o").await;
    let message = NewMessage { require_grant: true, ..fixture.new_message("o") };
    let first = new(fixture.record(message.clone()).await);
    assert_eq!(new(fixture.record(message).await), first);
    assert_eq!(fixture.all().await.len(), 1);
    // A message posted twice within one batch, too.
    let twice = fixture.new_message("p");
    let batch = [twice.clone(), twice].map(|message| Change::Enqueue(Box::new(message)));
    let applied = fixture.ledger.commit(batch.to_vec()).await.unwrap();
    assert_eq!(applied[0], applied[1]);
}
