//! What a reader sees.

use std::collections::BTreeMap;

use wxsub_core::consent::Nonce;

use super::fixture::{DAY, Fixture, HOUR, not_sent, refused, unknown};
use crate::ledger::MessageQuery;
use crate::message::Settlement;
use crate::state::{Decision, EventKind, GrantState, MessageState};

impl Fixture {
    /// One message in each state, and some twice.
    async fn variety(&self) {
        for (user, settlement) in [
            ("a", Some(Settlement::Sent)),
            ("b", Some(Settlement::Sent)),
            ("c", Some(refused(40037))),
            ("d", Some(unknown())),
            ("e", Some(unknown())),
            ("f", Some(not_sent())),
            ("g", None),
        ] {
            let claimed = self.claimed(user).await;
            if let Some(settlement) = settlement {
                self.settle_with(&claimed, settlement, 1).await.unwrap();
            }
        }
        self.pass(HOUR).await;
        let undecided = self.all().await.into_iter().find(|message| message.is_undecided()).unwrap();
        self.decide(self.new_decision(undecided.id, Decision::AssumeSent)).await.unwrap();
        let message = self.enqueue("h").await;
        self.cancel(message).await.unwrap();
        self.enqueue("i").await;
    }
}

pub(super) async fn counts_equal_a_recount(fixture: &Fixture) {
    fixture.variety().await;
    let (app, all) = (fixture.app().await, fixture.all().await);
    let mut recount = BTreeMap::new();
    all.iter().for_each(|message| *recount.entry(message.state).or_insert(0) += 1);
    assert_eq!(app.counts, recount);
    assert_eq!(app.counts.len(), MessageState::ALL.len(), "one in each state");
    let undecided = all.iter().filter(|message| message.is_undecided()).count();
    assert_eq!((app.undecided, undecided), (1, 1));
}

pub(super) async fn pages_hold_every_message_once(fixture: &Fixture) {
    fixture.variety().await;
    let all = fixture.all().await;
    assert!(all.is_sorted_by_key(|message| message.id) && all.len() == 9);
    let some = async |query| fixture.ledger.messages(&query).await.unwrap();
    let query = MessageQuery::new(fixture.appid.clone());
    let to_b = MessageQuery { openid: Some("b".parse().unwrap()), ..query.clone() };
    let undecided = MessageQuery { undecided: true, ..query.clone() };
    let states = MessageState::ALL.iter().map(|state| MessageQuery { state: Some(*state), ..query.clone() });
    for query in [query.clone(), to_b, undecided].into_iter().chain(states) {
        for newest_first in [false, true] {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = some(MessageQuery { newest_first, after, limit: 2, ..query.clone() }).await;
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                paged.extend(page);
            }
            if newest_first {
                paged.reverse();
            }
            assert_eq!(
                paged,
                all.iter().filter(|message| query.matches(message)).cloned().collect::<Vec<_>>()
            );
        }
    }
    let sent = some(MessageQuery { state: Some(MessageState::Sent), ..query.clone() }).await;
    assert_eq!(
        sent,
        all.iter().filter(|message| message.state == MessageState::Sent).cloned().collect::<Vec<_>>()
    );
    let to_c = some(MessageQuery { openid: Some("c".parse().unwrap()), ..query.clone() }).await;
    assert!(to_c.len() == 1 && to_c[0].state == MessageState::Refused);
    let undecided = some(MessageQuery { undecided: true, ..query }).await;
    assert!(undecided.len() == 1 && undecided[0].is_undecided());
    let other = some(MessageQuery::new("wx2".parse().unwrap())).await;
    assert!(other.is_empty());
}

pub(super) async fn grants_are_listed_by_app_and_state(fixture: &Fixture) {
    fixture.sent("used").await;
    let mut open = Vec::new();
    for user in ["a", "b", "c"] {
        open.push(fixture.consent(user).await.grant());
    }
    let list = async |state, after, limit| {
        let grants = fixture.ledger.grants_in_state(&fixture.appid, state, after, limit).await.unwrap();
        grants.into_iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    assert_eq!(list(GrantState::Open, None, 9).await, open);
    assert_eq!(list(GrantState::Open, Some(open[0]), 1).await, open[1..2]);
    assert_eq!(list(GrantState::Used, None, 9).await.len(), 1);
    assert_eq!(list(GrantState::Void, None, 9).await, []);
    let other = "wx2".parse().unwrap();
    assert_eq!(fixture.ledger.grants_in_state(&other, GrantState::Open, None, 9).await.unwrap(), []);
}

/// The grant that a page ends with may be deleted before the next page is read.
pub(super) async fn a_page_of_grants_goes_on_after_a_deleted_one(fixture: &Fixture) {
    let kept = Nonce::from_parts([1; 16], fixture.now() + 365 * DAY);
    fixture.consent_with("a", Some(kept)).await;
    let first = fixture.enqueue("a").await;
    let first = fixture.claim_one(first).await;
    fixture.settle(&first, Settlement::Sent).await.unwrap();
    fixture.sent("b").await;
    fixture.pass(60 * DAY).await;
    fixture.sent("c").await;
    let users = async |after| {
        let grants =
            fixture.ledger.grants_in_state(&fixture.appid, GrantState::Used, after, 9).await.unwrap();
        grants.into_iter().map(|grant| (grant.subject.openid.to_string(), grant.id)).collect::<Vec<_>>()
    };
    let before = users(None).await;
    fixture.pass(40 * DAY).await;
    assert_eq!(fixture.prune(9).await.grants, 1);
    assert_eq!(users(None).await, [before[0].clone(), before[2].clone()]);
    assert_eq!(users(Some(before[1].1)).await, before[2..]);
}

pub(super) async fn the_history_has_every_version(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    fixture.settle(&claimed, not_sent()).await.unwrap();
    fixture.pass(HOUR).await;
    let claimed = fixture.claim_one(claimed.id).await;
    fixture.settle(&claimed, unknown()).await.unwrap();
    fixture.decide_later(claimed.id, Decision::GiveUp).await;
    let history = fixture.ledger.history(claimed.id).await.unwrap();
    let kinds: Vec<_> = history.iter().map(|event| event.kind).collect();
    use EventKind::{Claimed, Decided, Enqueued, MaybeSent, Requeued};
    assert_eq!(kinds, [Enqueued, Claimed, Requeued, Claimed, MaybeSent, Decided]);
    let versions: Vec<_> = history.iter().map(|event| event.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(fixture.get(claimed.id).await.version, 6);
    assert_eq!(history.iter().map(|event| event.attempt).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 2]);
    assert_eq!(history[1].actor, Some(fixture.worker.to_string()));
    assert_eq!(history[5].actor.as_deref(), Some("ops"));
}
