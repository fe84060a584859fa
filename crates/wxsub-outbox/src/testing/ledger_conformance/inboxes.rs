//! The rows of an inbox, and their ids.

use super::fixture::{DAY, Fixture, not_sent, refused, unknown};
use crate::idempotency::{Fingerprint, INBOX_CLIENT};
use crate::ledger::{
    Applied, Change, InvalidLine, InvalidMessage, KeyKind, NewKey, NewMessage, NotRecorded, Recorded,
};
use crate::message::Settlement;
use crate::state::{GrantState, MessageState, Reason};

impl Fixture {
    /// The row of this message.
    fn row(&self, message: NewMessage) -> NewMessage {
        let key = message.id.to_string().parse().unwrap();
        message.with_key("inbox", INBOX_CLIENT, key, KeyKind::Inbox)
    }
}

pub(super) async fn the_id_of_a_row_is_known_for_a_year(fixture: &Fixture) {
    for (user, settlement) in
        [("a", Settlement::Sent), ("b", refused(45009)), ("c", unknown()), ("d", not_sent())]
    {
        fixture.consent(user).await;
        let row = fixture.row(fixture.new_message(user));
        let recorded = fixture.record(row.clone()).await.unwrap();
        assert!(matches!(&recorded, Recorded::New(message) if message.id == row.id), "{recorded:?}");
        for _ in 0..2 {
            let again = fixture.record(row.clone()).await.unwrap();
            assert!(matches!(&again, Recorded::Replayed(message) if message.id == row.id), "{again:?}");
        }
        let claimed = fixture.claim_one(row.id).await;
        fixture.settle_with(&claimed, settlement, 1).await.unwrap();
        fixture.pass(364 * DAY).await;
        fixture.prune(100).await;
        let again = fixture.record(row.clone()).await.unwrap();
        assert!(matches!(&again, Recorded::Replayed(message) if message.id == row.id), "{again:?}");
        assert_eq!(fixture.claim(fixture.worker).await, [], "{user}: nothing is queued once more");
    }
    fixture.pass(2 * DAY).await;
    fixture.prune(100).await;
    assert_eq!(fixture.all().await.len(), 1, "only the undecided one is kept");
}

pub(super) async fn another_content_under_the_id_of_a_row_is_refused(fixture: &Fixture) {
    let row = fixture.row(fixture.new_message("a"));
    fixture.record(row.clone()).await.unwrap();
    let other = fixture.row(NewMessage { id: row.id, ..fixture.new_message("b") });
    assert_eq!(fixture.record(other.clone()).await, Err(NotRecorded::KeyReused(row.id)));
    let claimed = fixture.claim_one(row.id).await;
    fixture.settle_with(&claimed, not_sent(), 1).await.unwrap();
    assert_eq!(fixture.record(other).await, Err(NotRecorded::KeyReused(row.id)), "also when it was not sent");

    let request = fixture.enqueue("c").await;
    let taken = fixture.row(NewMessage { id: request, ..fixture.new_message("c") });
    assert_eq!(fixture.record(taken).await, Err(NotRecorded::KeyReused(request)), "another origin");
    let appid = "wx0000000000000002".parse().unwrap();
    let elsewhere = fixture.row(NewMessage { id: row.id, ..fixture.new_message_of(&appid, "a") });
    assert_eq!(fixture.record(elsewhere).await, Err(NotRecorded::KeyReused(row.id)), "another app");
}

pub(super) async fn a_row_that_its_grant_does_not_allow_is_not_sent(fixture: &Fixture) {
    fixture.consent("o").await;
    let first = fixture.enqueue("o").await;
    let row = fixture.row(fixture.new_message("o"));
    let none = fixture.row(NewMessage { require_grant: true, ..fixture.new_message("p") });
    for (row, reason) in [(&row, Reason::GrantUnavailable), (&none, Reason::NoGrant)] {
        let recorded = fixture.record(row.clone()).await.unwrap();
        let message = recorded.message();
        assert_eq!((message.state, message.reason), (MessageState::NotSent, Some(reason)));
    }
    let claimed = fixture.claim_one(first).await;
    fixture.settle(&claimed, refused(40037)).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Open]);
    let again = fixture.record(row).await.unwrap();
    assert!(matches!(&again, Recorded::Replayed(message) if message.state == MessageState::NotSent));
}

pub(super) async fn a_row_that_breaks_a_rule_is_recorded_once(fixture: &Fixture) {
    let id = fixture.new_message("o").id;
    let invalid = |text: &str| {
        Change::RecordInvalid(Box::new(InvalidMessage {
            id,
            appid: fixture.appid.clone(),
            line: InvalidLine { problems: "message: is not JSON".to_owned(), ..InvalidLine::default() },
            key: NewKey {
                client: INBOX_CLIENT.to_owned(),
                key: id.to_string().parse().unwrap(),
                fingerprint: Fingerprint::of_bytes(text.as_bytes()),
                kind: KeyKind::Inbox,
            },
        }))
    };
    let Applied::Recorded(Ok(Recorded::New(first))) = fixture.apply(invalid("{")).await else { panic!() };
    assert_eq!((first.id, first.state, first.reason), (id, MessageState::NotSent, Some(Reason::Invalid)));
    assert_eq!(fixture.apply(invalid("{")).await, Applied::Recorded(Ok(Recorded::Replayed(first))));
    assert_eq!(fixture.apply(invalid("[")).await, Applied::Recorded(Err(NotRecorded::KeyReused(id))));
}
