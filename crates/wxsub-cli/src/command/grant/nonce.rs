//! The nonce of a consent that was not verified here: it is recorded once, like a callback.

use std::time::Duration;

use wxsub_core::consent::Nonce;
use wxsub_outbox::idempotency::Fingerprint;

use crate::ledger_file::now;

/// How long an imported consent is known: until then, importing it again makes no second grant.
const KNOWN_FOR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Identifies a consent that was not verified here, by what its owner calls it.
pub(super) fn nonce_of(appid: &str, name: &str) -> Nonce {
    let digest = Fingerprint::of_bytes(format!("grant\0{appid}\0{name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(byte, digest)| *byte = *digest);
    Nonce::from_parts(bytes, now() + KNOWN_FOR)
}
