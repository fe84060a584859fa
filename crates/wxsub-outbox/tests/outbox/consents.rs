//! Consents: a verified callback makes one grant, however often and wherever it is recorded.

use futures_util::future::join_all;
use wxsub_core::ConsentVerifier;
use wxsub_core::consent::{SigningKey, VerifiedConsent};
use wxsub_outbox::Ledger;
use wxsub_outbox::grant::Consent;
use wxsub_outbox::state::GrantState;
use wxsub_proto::{ConsentCallback, Scene};

use super::harness::Harness;

/// A callback that this user's consent led to, verified.
fn verified(harness: &Harness, action: &str) -> VerifiedConsent {
    let key = SigningKey::new(&[7; 32]).unwrap();
    let verifier = ConsentVerifier::new("wx1".parse().unwrap(), key).clock(harness.clock.clone());
    let request = verifier.issue("T".parse().unwrap(), Scene::new(7).unwrap(), "session").unwrap();
    let reserved = request.reserved.unwrap();
    let callback = format!("openid=o&template_id=T&action={action}&scene=7&reserved={reserved}");
    let callback: ConsentCallback = callback.parse().unwrap();
    verifier.verify(&callback, "session").unwrap()
}

#[tokio::test]
async fn a_callback_that_comes_many_times_at_once_makes_one_grant() {
    let harness = Harness::new();
    let callback = verified(&harness, "confirm");
    let recorded = join_all((0..50).map(|_| harness.outbox.record_consent(&callback))).await;
    let recorded: Vec<_> = recorded.into_iter().map(|consent| consent.unwrap().unwrap()).collect();
    let new = recorded.iter().filter(|consent| matches!(consent, Consent::Recorded(_))).count();
    let known = recorded.iter().filter(|consent| matches!(consent, Consent::AlreadyRecorded(_))).count();
    assert_eq!((new, known), (1, 49));
    let grants = harness.ledger.grants(&"wx1".parse().unwrap(), &"o".parse().unwrap()).await.unwrap();
    assert_eq!(grants.iter().map(|grant| grant.state).collect::<Vec<_>>(), [GrantState::Open]);

    let another = harness.outbox.record_consent(&verified(&harness, "confirm")).await.unwrap();
    assert_eq!(another, Some(Consent::Absorbed(grants[0].id)));
}

#[tokio::test]
async fn a_declined_callback_uses_up_nothing() {
    let harness = Harness::new();
    assert_eq!(harness.outbox.record_consent(&verified(&harness, "cancel")).await.unwrap(), None);
    assert!(harness.ledger.grants(&"wx1".parse().unwrap(), &"o".parse().unwrap()).await.unwrap().is_empty());
}
