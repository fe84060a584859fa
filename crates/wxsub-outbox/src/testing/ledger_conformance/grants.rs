//! The rules of grants.

use super::fixture::{Fixture, MINUTE, not_sent, refused, unknown};
use crate::grant::{Consent, NotAdmitted, StoredGrant};
use crate::ledger::{Applied, Change, NewMessage, NotRecorded};
use crate::message::Settlement;
use crate::state::{Decision, GrantState, MessageState};

pub(super) async fn a_consent_is_recorded_once(fixture: &Fixture) {
    let nonce = fixture.nonce();
    let Consent::Recorded(grant) = fixture.consent_with("o", Some(nonce)).await else {
        panic!("not recorded")
    };
    assert_eq!(fixture.consent_with("o", Some(nonce)).await, Consent::AlreadyRecorded(grant));
    // Also after the grant is used up.
    let claimed = fixture.claim_one(fixture.enqueue("o").await).await;
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert_eq!(fixture.consent_with("o", Some(nonce)).await, Consent::AlreadyRecorded(grant));
    assert_eq!(fixture.grants("o").await, [GrantState::Used]);
}

pub(super) async fn an_unused_grant_absorbs_a_consent(fixture: &Fixture) {
    let Consent::Recorded(grant) = fixture.consent("o").await else { panic!("not recorded") };
    let nonce = fixture.nonce();
    assert_eq!(fixture.consent_with("o", Some(nonce)).await, Consent::Absorbed(grant), "open");
    assert_eq!(
        fixture.consent_with("o", Some(nonce)).await,
        Consent::AlreadyRecorded(grant),
        "the nonce is used up"
    );
    let id = fixture.enqueue("o").await;
    assert_eq!(fixture.consent("o").await, Consent::Absorbed(grant), "reserved");
    // While the message is posted, a consent is worth something; then it is open, and absorbs.
    let claimed = fixture.claim_one(id).await;
    assert!(matches!(fixture.consent("o").await, Consent::Recorded(_)));
    assert!(matches!(fixture.consent("o").await, Consent::Absorbed(_)));
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Used, GrantState::Open]);
    for (user, settlement) in [("used", Settlement::Sent), ("void", refused(43101)), ("doubt", unknown())] {
        let claimed = fixture.claimed(user).await;
        fixture.settle(&claimed, settlement).await.unwrap();
        assert!(matches!(fixture.consent(user).await, Consent::Recorded(_)), "{user}");
    }
}

pub(super) async fn the_newest_grant_decides(fixture: &Fixture) {
    let require = |user| NewMessage { require_grant: true, ..fixture.new_message(user) };
    let no_grant = Err(NotRecorded::Grant(NotAdmitted::NoGrant));
    let unavailable = Err(NotRecorded::Grant(NotAdmitted::GrantUnavailable));
    assert_eq!(fixture.record(require("o")).await, no_grant);
    let free = fixture.record(fixture.new_message("free")).await.unwrap();
    assert_eq!(free.message().grant, None, "allowed without a grant");
    let grant = fixture.consent("o").await.grant();
    let recorded = fixture.record(require("o")).await.unwrap();
    assert_eq!(recorded.message().grant, Some(grant));
    assert_eq!(fixture.record(fixture.new_message("o")).await, unavailable, "reserved");
    let claimed = fixture.claim_one(recorded.message().id).await;
    assert_eq!(fixture.begin(fixture.new_message("o")).await, unavailable, "attempting");
    fixture.settle(&claimed, unknown()).await.unwrap();
    assert_eq!(fixture.record(fixture.new_message("o")).await, unavailable, "in doubt");
    fixture.decide_later(claimed.id, Decision::GiveUp).await;
    assert_eq!(fixture.record(require("o")).await, no_grant, "void");
    assert_eq!(fixture.record(fixture.new_message("o")).await.unwrap().message().grant, None);
    let sent = fixture.claimed("p").await;
    fixture.settle(&sent, Settlement::Sent).await.unwrap();
    assert_eq!(fixture.record(require("p")).await, no_grant, "used");
}

pub(super) async fn a_released_grant_is_void_beside_a_newer_one(fixture: &Fixture) {
    let refusing = fixture.claimed("o").await;
    fixture.consent("o").await;
    fixture.settle(&refusing, refused(40037)).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Void, GrantState::Open]);
    // Also if the newer one is used already.
    let failing = fixture.claimed("p").await;
    fixture.consent("p").await;
    let second = fixture.begin(fixture.new_message("p")).await.unwrap();
    fixture.settle(second.message(), Settlement::Sent).await.unwrap();
    fixture.settle_with(&failing, not_sent(), 1).await.unwrap();
    assert_eq!(fixture.grants("p").await, [GrantState::Void, GrantState::Used]);
    // Without a newer one it is free again.
    let alone = fixture.claimed("q").await;
    fixture.settle(&alone, refused(40037)).await.unwrap();
    assert_eq!(fixture.grants("q").await, [GrantState::Open]);
}

pub(super) async fn a_requeued_grant_is_reserved_beside_a_newer_one(fixture: &Fixture) {
    let first = fixture.claimed("o").await;
    fixture.consent("o").await;
    fixture.settle(&first, not_sent()).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Reserved, GrantState::Open]);
    // The newest decides: it is open, so another message may have it.
    let second = fixture.enqueue("o").await;
    assert_eq!(fixture.grants("o").await, [GrantState::Reserved, GrantState::Reserved]);
    fixture.pass(MINUTE).await;
    let claimed: Vec<_> = fixture.claim(fixture.worker).await.iter().map(|message| message.id).collect();
    assert!(claimed.len() == 2 && claimed.contains(&first.id) && claimed.contains(&second), "{claimed:?}");
}

/// Whatever happens in between, no two messages of one grant may have been sent.
pub(super) async fn a_grant_has_one_message(fixture: &Fixture) {
    let grant = fixture.consent("o").await.grant();
    let holding = async || {
        let all = fixture.all().await;
        all.iter().filter(|message| message.grant == Some(grant) && message.holds_grant()).count()
    };
    let refused_one = fixture.claim_one(fixture.enqueue("o").await).await;
    fixture.settle(&refused_one, refused(40037)).await.unwrap();
    let cancelled = fixture.enqueue("o").await;
    fixture.cancel(cancelled).await.unwrap();
    let undecided = fixture.claim_one(fixture.enqueue("o").await).await;
    assert_eq!(holding().await, 1);
    fixture.settle(&undecided, unknown()).await.unwrap();
    assert_eq!(holding().await, 1);
    let (_, child) = fixture.decide_later(undecided.id, Decision::SendAgain).await;
    assert_eq!((holding().await, child.unwrap().grant), (1, Some(grant)));
    let states: Vec<_> = fixture.all().await.iter().map(|message| message.state).collect();
    use MessageState::{Cancelled, MaybeSent, Queued, Refused};
    assert_eq!(states, [Refused, Cancelled, MaybeSent, Queued]);
}

pub(super) async fn an_open_grant_can_be_voided(fixture: &Fixture) {
    let grant = fixture.consent("o").await.grant();
    let of_app = |grant, appid| Change::VoidGrant { grant, appid };
    let change = |grant| of_app(grant, None);
    let void = async || fixture.apply_for::<Option<StoredGrant>>(change(grant)).await.is_some();
    let claimed = fixture.claim_one(fixture.enqueue("o").await).await;
    assert!(!void().await, "a message is being posted with it");
    fixture.settle(&claimed, unknown()).await.unwrap();
    assert!(!void().await, "a message may have used it");
    let open = fixture.consent("p").await.grant();
    let other = Some("other".parse().unwrap());
    assert_eq!(fixture.apply(of_app(open, other)).await, Applied::Grant(None), "it is of another app");
    assert!(matches!(fixture.apply(change(open)).await, Applied::Grant(Some(_))));
    assert_eq!(fixture.grants("p").await, [GrantState::Void]);
    // In doubt without a message: only after a restore.
    let restored = fixture.consent("q").await.grant();
    fixture.apply(Change::Restore).await;
    assert_eq!(fixture.grants("q").await, [GrantState::InDoubt]);
    assert!(matches!(fixture.apply(change(restored)).await, Applied::Grant(Some(_))));
}
