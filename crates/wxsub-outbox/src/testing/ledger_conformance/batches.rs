//! The lines of a batch, and their keys.

use std::time::Duration;

use super::fixture::{Fixture, new, not_sent, refused, replayed, unknown};
use crate::id::MessageId;
use crate::idempotency::{Fingerprint, batch_client};
use crate::ledger::{
    Applied, Change, InvalidLine, InvalidMessage, KeyKind, NewKey, NewMessage, NotRecorded, PAGE, Recorded,
};
use crate::message::{Settlement, StoredMessage};
use crate::state::{Decision, GrantState, MessageState, Reason, Stage};

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

impl Fixture {
    /// The line of this key, to this user.
    async fn line(&self, key: &str, user: &str) -> Result<Recorded, NotRecorded> {
        self.record(self.batch_message(key, self.new_message(user))).await
    }

    fn batch_message(&self, key: &str, message: NewMessage) -> NewMessage {
        message.with_key("batch", &batch_client("spring"), key.parse().unwrap(), KeyKind::Batch)
    }

    async fn invalid_line(&self, key: &str, text: &str) -> Result<Recorded, NotRecorded> {
        let (key, fingerprint) = (key.parse().unwrap(), Fingerprint::of_bytes(text.as_bytes()));
        let invalid = InvalidMessage {
            id: self.new_message("o").id,
            appid: self.appid.clone(),
            line: InvalidLine {
                template_id: Some("T".parse().unwrap()),
                problems: "touser: is missing".to_owned(),
                ..InvalidLine::default()
            },
            key: NewKey { client: batch_client("spring"), key, fingerprint, kind: KeyKind::Batch },
        };
        self.apply_for(Change::RecordInvalid(Box::new(invalid))).await
    }

    async fn prune_batch(&self) -> (usize, usize) {
        let client = batch_client("spring");
        let pruned = self.apply(Change::PruneBatch { appid: self.appid.clone(), client }).await;
        let Applied::BatchPruned { deleted, kept } = pruned else { panic!("{pruned:?}") };
        (deleted, kept)
    }

    async fn settle_line(&self, id: MessageId, settlement: Settlement) {
        let claimed = self.claim_one(id).await;
        self.settle_with(&claimed, settlement, 1).await.unwrap();
    }
}

pub(super) async fn a_changed_line_replaces_what_was_refused_or_not_sent(fixture: &Fixture) {
    for (index, (settlement, again, changed)) in [
        (None, false, false),
        (Some(Settlement::Sent), false, false),
        (Some(unknown()), false, false),
        (Some(refused(40037)), false, true),
        (Some(refused(45009)), true, true),
        (Some(not_sent()), true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let (user, other) = (format!("user{index}"), format!("other{index}"));
        let (one, two) = (format!("one{index}"), format!("two{index}"));
        let mut ids = Vec::new();
        for key in [&one, &two] {
            let id = new(fixture.line(key, &user).await).id;
            if let Some(settlement) = &settlement {
                fixture.settle_line(id, settlement.clone()).await;
            }
            ids.push(id);
        }
        match fixture.line(&one, &user).await {
            Ok(Recorded::New(message)) => assert!(again && message.parent_id == Some(ids[0]), "{index}"),
            Ok(Recorded::Replayed(message)) => assert!(!again && message.id == ids[0], "{index}"),
            other => panic!("{index}: {other:?}"),
        }
        match fixture.line(&two, &other).await {
            Ok(Recorded::New(message)) => assert!(changed && message.parent_id == Some(ids[1]), "{index}"),
            Err(NotRecorded::KeyReused(id)) => assert!(!changed && id == ids[1], "{index}"),
            other => panic!("{index}: {other:?}"),
        }
        for message in fixture.all().await.iter().filter(|message| !message.state.is_final()) {
            fixture.cancel(message.id).await.unwrap();
        }
    }
}

pub(super) async fn a_line_without_a_grant_is_recorded(fixture: &Fixture) {
    fixture.consent("o").await;
    let first = new(fixture.line("a", "o").await);
    let unavailable = new(fixture.line("b", "o").await);
    let seen = (unavailable.state, unavailable.reason, unavailable.detail.stage, unavailable.grant);
    let expected = (MessageState::NotSent, Some(Reason::GrantUnavailable), Some(Stage::Grant), None);
    assert_eq!(seen, expected);
    assert!(unavailable.body.is_none() && unavailable.settled_at.is_some());
    assert_eq!(replayed(fixture.line("b", "o").await).id, unavailable.id, "the grant is still in use");
    fixture.settle_line(first.id, refused(40037)).await;
    assert_eq!(fixture.grants("o").await, [GrantState::Open]);
    let again = new(fixture.line("b", "o").await);
    assert_eq!((again.state, again.parent_id), (MessageState::Queued, Some(unavailable.id)));

    let require = |user| NewMessage { require_grant: true, ..fixture.new_message(user) };
    let none = new(fixture.record(fixture.batch_message("c", require("p"))).await);
    assert_eq!((none.state, none.reason), (MessageState::NotSent, Some(Reason::NoGrant)));
    fixture.consent("p").await;
    let with_grant = new(fixture.record(fixture.batch_message("c", require("p"))).await);
    assert_eq!((with_grant.state, with_grant.grant.is_some()), (MessageState::Queued, true));
}

pub(super) async fn an_invalid_line_is_recorded_once(fixture: &Fixture) {
    let invalid = new(fixture.invalid_line("a", "{}").await);
    assert_eq!((invalid.state, invalid.reason), (MessageState::NotSent, Some(Reason::Invalid)));
    assert_eq!((&invalid.touser, invalid.template_id.is_some(), invalid.scene), (&None, true, None));
    assert_eq!(invalid.detail.errmsg.as_deref(), Some("touser: is missing"));
    assert_eq!(fixture.get(invalid.id).await, invalid);
    assert_eq!(replayed(fixture.invalid_line("a", "{}").await), invalid);
    let changed = new(fixture.invalid_line("a", "{ }").await);
    assert_eq!(changed.parent_id, Some(invalid.id));
    let corrected = new(fixture.line("a", "o").await);
    assert_eq!((corrected.state, corrected.parent_id), (MessageState::Queued, Some(changed.id)));
    let reused = fixture.invalid_line("a", "{}").await;
    assert_eq!(reused, Err(NotRecorded::KeyReused(corrected.id)));
    assert_eq!(fixture.app().await.counts[&MessageState::NotSent], 2);
}

pub(super) async fn keys_of_a_batch_are_kept_until_it_is_deleted(fixture: &Fixture) {
    let sent = new(fixture.line("sent", "a").await);
    fixture.settle_line(sent.id, Settlement::Sent).await;
    let undecided = new(fixture.line("undecided", "b").await);
    fixture.settle_line(undecided.id, unknown()).await;
    let request = fixture.with_key("sent", fixture.new_message("c"));
    let request = fixture.record(request).await.unwrap().message().id;
    fixture.settle_line(request, Settlement::Sent).await;
    fixture.pass(YEAR).await;
    let prune = async || {
        let report = fixture.prune(100).await;
        (report.messages, report.keys)
    };
    assert_eq!(prune().await, (1, 1), "only the key of the request is over");
    assert_eq!(replayed(fixture.line("sent", "a").await).id, sent.id);

    let clients = fixture.ledger.batch_clients(&fixture.appid, 9).await;
    assert_eq!(clients, Ok(vec![batch_client("spring")]));
    assert_eq!(fixture.prune_batch().await, (1, 1), "an undecided line keeps its key");
    assert_eq!(replayed(fixture.line("undecided", "b").await).id, undecided.id);
    assert_eq!(prune().await, (1, 0), "the row of the sent line is over");
    fixture.decide_later(undecided.id, Decision::GiveUp).await;
    assert_eq!(fixture.prune_batch().await, (1, 0));
    assert_eq!(fixture.prune_batch().await, (0, 0));
}

/// More than are read at a time, in an order that depends on the database.
pub(super) async fn a_batch_of_many_lines_is_deleted(fixture: &Fixture) {
    let line = |number: usize| {
        let key = format!("{}{number}", ["a", "B", "-", "_"][number % 4]);
        Change::Enqueue(Box::new(fixture.batch_message(&key, fixture.new_message(&format!("o{number}")))))
    };
    fixture.ledger.commit((0..=2 * PAGE).map(line).collect()).await.unwrap();
    let kept: Vec<_> = fixture.all().await.iter().step_by(PAGE).map(|message| message.id).collect();
    let cancel = |message: &StoredMessage| Change::Cancel { message: message.id, by: "ops".to_owned() };
    let cancelled = fixture.all().await.iter().filter(|line| !kept.contains(&line.id)).map(cancel).collect();
    fixture.ledger.commit(cancelled).await.unwrap();
    assert_eq!(fixture.prune_batch().await, (2 * PAGE - 2, 3));
    assert_eq!(fixture.prune_batch().await, (0, 3));
}
