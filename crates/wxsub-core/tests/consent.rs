//! Verification: only a callback for a request of this session is accepted, once and in time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wxsub_core::ConsentVerifier;
use wxsub_core::consent::{
    InMemoryNonceStore, Nonce, NonceStore, SigningKey, VerificationError, VerifiedConsent,
};
use wxsub_core::proto::{ConsentAction, ConsentCallback, ConsentRequest, Scene};
use wxsub_core::testing::ManualClock;

const KEY: &[u8] = b"sixteen bytes at least";

fn verifier_of(app: &str, key: &[u8], clock: &Arc<ManualClock>) -> ConsentVerifier {
    ConsentVerifier::new(app.parse().unwrap(), SigningKey::new(key).unwrap()).clock(clock.clone())
}

fn first_use(nonces: &InMemoryNonceStore, nonce: &Nonce) -> bool {
    nonces.insert_if_new(nonce).now_or_never().unwrap().unwrap()
}

fn bench() -> (Arc<ManualClock>, ConsentVerifier) {
    let clock = Arc::new(ManualClock::new());
    let verifier = verifier_of("wx1", KEY, &clock);
    (clock, verifier)
}

fn issue(verifier: &ConsentVerifier) -> ConsentRequest {
    verifier.issue("T".parse().unwrap(), scene(7), "session").unwrap()
}

fn scene(number: u16) -> Scene {
    Scene::new(number).unwrap()
}

fn callback_to(request: &ConsentRequest) -> ConsentCallback {
    let action = ConsentAction::Confirm { openid: "OPENID".parse().unwrap() };
    let ConsentRequest { template_id, scene, reserved, .. } = request.clone();
    ConsentCallback { action, template_id, scene, reserved }
}

#[test]
fn genuine_callback_gives_one_grant() {
    let (clock, verifier) = bench();
    let nonces = InMemoryNonceStore::with_clock(clock.clone());
    let request = issue(&verifier);
    let verified = verifier.verify(&callback_to(&request), "session").unwrap();
    let VerifiedConsent::Granted { grant, nonce } = &verified else { panic!("{verified:?}") };
    assert_eq!(
        (grant.openid().as_str(), grant.scene(), grant.template_id().as_str()),
        ("OPENID", scene(7), "T")
    );
    assert!(first_use(&nonces, nonce));
    assert!(!first_use(&nonces, &verifier.verify(&callback_to(&request), "session").unwrap().nonce()));
}

#[test]
fn declined_callback_must_be_genuine() {
    let (_clock, verifier) = bench();
    let request = issue(&verifier);
    let cancel = |reserved| {
        let action = ConsentAction::Cancel;
        ConsentCallback { action, reserved, ..callback_to(&request) }
    };
    assert!(matches!(
        verifier.verify(&cancel(request.reserved.clone()), "session"),
        Ok(VerifiedConsent::Declined { .. })
    ));
    assert_eq!(verifier.verify(&cancel(None), "session"), Err(VerificationError));
}

#[test]
fn every_request_has_a_new_state_within_limits() {
    let (_, verifier) = bench();
    let [a, b] = [(); 2].map(|()| issue(&verifier).reserved.unwrap());
    assert_ne!(a, b);
    assert!(a.as_str().len() <= 128 && a.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

#[test]
fn any_difference_is_rejected() {
    let (clock, verifier) = bench();
    let request = issue(&verifier);
    let genuine = callback_to(&request);
    let reserved = request.reserved.clone().unwrap();
    let with = |template: &str, number, reserved: Option<&str>| {
        let reserved = reserved.map(|text| text.parse().unwrap());
        let (template_id, scene) = (template.parse().unwrap(), scene(number));
        ConsentCallback { template_id, scene, reserved, ..genuine.clone() }
    };
    let text = reserved.as_str();
    let cut = &text[..text.len() - 2];
    for callback in [
        with("U", 7, Some(text)),
        with("T", 8, Some(text)),
        with("T", 7, None),
        with("T", 7, Some("hello")),
        with("T", 7, Some(cut)),
        with("T", 7, Some(&format!("{text}00"))),
        with("T", 7, Some(&text.to_uppercase())),
    ] {
        assert_eq!(verifier.verify(&callback, "session"), Err(VerificationError), "{callback:?}");
    }
    assert_eq!(verifier.verify(&genuine, "another"), Err(VerificationError));
    assert_eq!(verifier.verify(&genuine, ""), Err(VerificationError));
    assert_eq!(verifier_of("wx2", KEY, &clock).verify(&genuine, "session"), Err(VerificationError));
    assert_eq!(
        verifier_of("wx1", b"another key of sixteen", &clock).verify(&genuine, "session"),
        Err(VerificationError)
    );
    assert!(verifier.verify(&genuine, "session").is_ok());
}

#[test]
fn change_of_any_digit_is_rejected() {
    let (_clock, verifier) = bench();
    let request = issue(&verifier);
    let text = request.reserved.clone().unwrap().as_str().to_owned();
    for index in 0..text.len() {
        let mut forged = text.clone().into_bytes();
        forged[index] = if forged[index] == b'0' { b'1' } else { b'0' };
        let forged = request.clone().reserved(String::from_utf8(forged).unwrap()).unwrap();
        assert_eq!(
            verifier.verify(&callback_to(&forged), "session"),
            Err(VerificationError),
            "digit {index}"
        );
    }
}

#[test]
fn state_expires() {
    let (clock, verifier) = bench();
    let verifier = verifier.lifetime(Duration::from_millis(59_500));
    let callback = callback_to(&issue(&verifier));
    // Whole seconds, rounded up, and a tolerance for clock skew.
    clock.advance(Duration::from_secs(60 + 29));
    let nonce = verifier.verify(&callback, "session").unwrap().nonce();
    clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.verify(&callback, "session"), Err(VerificationError));
    assert!(!first_use(&InMemoryNonceStore::with_clock(clock), &nonce), "an expired nonce is no first use");
}

#[test]
fn nonce_is_kept_until_expiry() {
    let (clock, verifier) = bench();
    let verifier = verifier.lifetime(Duration::from_secs(60));
    let callback = callback_to(&issue(&verifier));
    let nonces = InMemoryNonceStore::with_clock(clock.clone());
    let nonce = verifier.verify(&callback, "session").unwrap().nonce();
    assert!(first_use(&nonces, &nonce));
    clock.advance(Duration::from_secs(89));
    assert!(verifier.verify(&callback, "session").is_ok() && !first_use(&nonces, &nonce));
}

#[test]
fn previous_key_verifies_after_rotation() {
    let (clock, verifier) = bench();
    let callback = callback_to(&issue(&verifier));
    let rotated = verifier_of("wx1", b"the next key, as long", &clock);
    assert_eq!(rotated.verify(&callback, "session"), Err(VerificationError));
    assert!(rotated.with_previous_key(SigningKey::new(KEY).unwrap()).verify(&callback, "session").is_ok());
    assert!(SigningKey::new(b"too short").is_err());
}

#[test]
fn one_of_a_thousand_replays_is_accepted() {
    let (clock, verifier) = bench();
    let nonces = InMemoryNonceStore::with_clock(clock.clone());
    let callback = callback_to(&issue(&verifier));
    let nonce = verifier.verify(&callback, "session").unwrap().nonce();
    let wins = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..250).filter(|_| first_use(&nonces, &nonce)).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(wins, 1);
}
