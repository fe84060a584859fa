//! Verification: only a callback for a request of this session is accepted, once and in time.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wxsub_core::ConsentVerifier;
use wxsub_core::clock::Clock;
use wxsub_core::consent::{
    InMemoryNonceStore, Nonce, NonceStore, RejectReason, SigningKey, VerificationError, VerifiedConsent,
};
use wxsub_core::proto::{ConsentAction, ConsentCallback, ConsentRequest, Scene};
use wxsub_core::testing::ManualClock;

const KEY: &[u8] = &[1; 32];
const OTHER_KEY: &[u8] = &[2; 32];

fn verifier_of(app: &str, key: &[u8], clock: &Arc<ManualClock>) -> ConsentVerifier {
    ConsentVerifier::new(app.parse().unwrap(), SigningKey::new(key).unwrap()).clock(clock.clone())
}

fn reason(verifier: &ConsentVerifier, callback: &ConsentCallback, session: &str) -> Option<RejectReason> {
    verifier.verify(callback, session).err().map(VerificationError::reason)
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
    assert_eq!(reason(&verifier, &cancel(None), "session"), Some(RejectReason::Absent));
}

#[test]
fn every_request_has_a_new_state_within_limits() {
    let (_, verifier) = bench();
    let [a, b] = [(); 2].map(|()| issue(&verifier).reserved.unwrap());
    assert_ne!(a, b);
    assert!(a.as_str().len() <= 128 && a.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

#[test]
fn longest_lifetime_does_not_wrap() {
    for seconds in [1 << 40, u64::MAX] {
        let (clock, verifier) = bench();
        let verifier = verifier.lifetime(Duration::from_secs(seconds));
        let request = issue(&verifier);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(reason(&verifier, &callback_to(&request), "session"), None, "{seconds}");
    }
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
    for (callback, expected) in [
        (with("T", 7, Some(text)), None),
        (with("U", 7, Some(text)), Some(RejectReason::WrongMac)),
        (with("T", 8, Some(text)), Some(RejectReason::WrongMac)),
        (with("T", 7, None), Some(RejectReason::Absent)),
        (with("T", 7, Some("hello")), Some(RejectReason::NotOurs)),
        (with("T", 7, Some(cut)), Some(RejectReason::NotOurs)),
        (with("T", 7, Some(&format!("{text}00"))), Some(RejectReason::NotOurs)),
        (with("T", 7, Some(&text.to_uppercase())), Some(RejectReason::NotOurs)),
    ] {
        assert_eq!(reason(&verifier, &callback, "session"), expected, "{callback:?}");
    }
    assert_eq!(reason(&verifier, &genuine, "another"), Some(RejectReason::WrongMac));
    assert_eq!(reason(&verifier, &genuine, ""), Some(RejectReason::WrongMac));
    assert_eq!(reason(&verifier_of("wx2", KEY, &clock), &genuine, "session"), Some(RejectReason::WrongMac));
    assert_eq!(
        reason(&verifier_of("wx1", OTHER_KEY, &clock), &genuine, "session"),
        Some(RejectReason::UnknownKey)
    );
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
        assert!(verifier.verify(&callback_to(&forged), "session").is_err(), "digit {index}");
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
    assert_eq!(nonce.expires(), clock.now().wall + Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!(reason(&verifier, &callback, "session"), Some(RejectReason::Expired));
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

/// Each pair of neighbours in this list runs side by side during a rolling deploy.
#[test]
fn rotation_in_three_steps_rejects_no_callback() {
    let (clock, _) = bench();
    let with = |key, previous: Option<&[u8]>| {
        let verifier = verifier_of("wx1", key, &clock);
        match previous {
            Some(previous) => verifier.with_previous_key(SigningKey::new(previous).unwrap()),
            None => verifier,
        }
    };
    let steps =
        [with(KEY, None), with(KEY, Some(OTHER_KEY)), with(OTHER_KEY, Some(KEY)), with(OTHER_KEY, None)];
    for (before, after) in [(0, 1), (1, 2)] {
        for (issuer, verifier) in [(before, after), (after, before)] {
            let callback = callback_to(&issue(&steps[issuer]));
            assert_eq!(reason(&steps[verifier], &callback, "session"), None, "{issuer}, {verifier}");
        }
    }
    let of_the_old_key = callback_to(&issue(&steps[1]));
    assert_eq!(reason(&steps[3], &of_the_old_key, "session"), Some(RejectReason::UnknownKey));
    clock.advance(Duration::from_secs(630));
    assert_eq!(reason(&steps[2], &of_the_old_key, "session"), Some(RejectReason::Expired));
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

#[test]
fn signing_key_has_at_least_32_bytes() {
    let error = SigningKey::new(&[7; 31]).unwrap_err();
    assert_eq!(error.to_string(), "signing_key: must be 32 to 4096 random bytes");
    assert!(SigningKey::new(&[7; 32]).is_ok());
}

#[test]
fn key_file_has_the_key_and_one_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consent.key");
    let read = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        SigningKey::from_file(&path)
    };
    let (clock, verifier) = bench();
    let callback = callback_to(&issue(&verifier));
    let accepts = |key: SigningKey| {
        let verifier = ConsentVerifier::new("wx1".parse().unwrap(), key).clock(clock.clone());
        reason(&verifier, &callback, "session").is_none()
    };
    for (content, same) in
        [(KEY.to_vec(), true), ([KEY, b"\n"].concat(), true), ([KEY, b"\n\n"].concat(), false)]
    {
        assert_eq!(accepts(read(&content).unwrap()), same, "{content:?}");
    }
    for (length, newline, fits) in
        [(31, "\n", false), (32, "\n", true), (4096, "\n", true), (4097, "", false), (9000, "\n", false)]
    {
        let content = ["x".repeat(length), newline.to_owned()].concat();
        assert_eq!(read(content.as_bytes()).is_ok(), fits, "{length}");
    }
    let error = read(b"PLANTED").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: must have 32 to 4096 bytes; make one with `wxsub consent key`", path.display())
    );
    assert!(!format!("{error:?} {:?}", error.localized()).contains("PLANTED"));
    let error = SigningKey::from_file(folder.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none cannot be read: "), "{error}");
}
