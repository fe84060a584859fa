//! The signed state in `reserved`: version, key id, expiry, nonce and MAC, as 110 lower-case hexadecimal digits.

use std::time::Duration;

use subtle::ConstantTimeEq;
use wxsub_proto::Reserved;

use super::{Nonce, SigningKey};
use crate::clock::UnixMillis;

pub(super) const NONCE_BYTES: usize = 16;

const VERSION: u8 = 1;
/// Version, key id, expiry in unix seconds (five bytes), nonce.
const HEAD_BYTES: usize = 1 + 2 + 5 + NONCE_BYTES;
const MAC_BYTES: usize = 32;

/// How long after expiry a callback is still accepted, because clocks of servers differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// Why a callback is rejected, for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectReason {
    Absent,
    NotOurs,
    UnknownKey,
    WrongMac,
    Expired,
}

/// The content of the state, after its MAC was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedState {
    /// When callbacks are no longer accepted.
    expires: UnixMillis,
    nonce: [u8; NONCE_BYTES],
}

impl SignedState {
    pub(super) fn new(expires: UnixMillis, nonce: [u8; NONCE_BYTES]) -> Self {
        Self { expires, nonce }
    }

    pub(super) fn nonce(self) -> Nonce {
        Nonce::new(self.nonce, self.expires)
    }

    pub(super) fn sign(self, key: &SigningKey, context: &[Box<[u8]>]) -> Option<Reserved> {
        let seconds = self.expires.get().div_ceil(1000).to_be_bytes();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend(key.id());
        bytes.extend(seconds.iter().skip(3));
        bytes.extend(self.nonce);
        let mac = mac(key, &bytes, context);
        bytes.extend(mac);
        // Always valid: hexadecimal digits of this length.
        Reserved::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).ok()
    }

    pub(super) fn verify(
        reserved: &Reserved,
        keys: &[&SigningKey],
        context: &[Box<[u8]>],
        now: UnixMillis,
    ) -> Result<Self, RejectReason> {
        let bytes = from_hex(reserved.as_str()).ok_or(RejectReason::NotOurs)?;
        let (head, received_mac) = bytes
            .split_at_checked(HEAD_BYTES)
            .filter(|(_, mac)| mac.len() == MAC_BYTES)
            .ok_or(RejectReason::NotOurs)?;
        let [VERSION, id_a, id_b, e0, e1, e2, e3, e4, nonce @ ..] = head else {
            return Err(RejectReason::NotOurs);
        };
        // Key ids are short, so two keys may have the same.
        let mut candidates = keys.iter().filter(|key| key.id() == [*id_a, *id_b]).peekable();
        candidates.peek().ok_or(RejectReason::UnknownKey)?;
        if !candidates.any(|key| mac(key, head, context).ct_eq(received_mac).into()) {
            return Err(RejectReason::WrongMac);
        }
        let seconds = u64::from_be_bytes([0, 0, 0, *e0, *e1, *e2, *e3, *e4]);
        let expires = UnixMillis::new(seconds * 1000) + LEEWAY;
        let nonce = nonce.try_into().map_err(|_| RejectReason::NotOurs)?;
        if now >= expires { Err(RejectReason::Expired) } else { Ok(Self { expires, nonce }) }
    }
}

fn mac(key: &SigningKey, head: &[u8], context: &[Box<[u8]>]) -> [u8; MAC_BYTES] {
    let parts: Vec<Box<[u8]>> = std::iter::once(head.into()).chain(context.iter().cloned()).collect();
    key.mac(&parts)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reasons that the log shows.
    #[test]
    fn each_defect_has_its_own_reason() {
        let key = SigningKey::new(b"sixteen bytes at least").unwrap();
        let another = SigningKey::new(b"another sixteen or more").unwrap();
        let context = |text: &str| [Box::from(text.as_bytes())];
        let expires = UnixMillis::new(1_000_000);
        let reserved = SignedState::new(expires, [7; NONCE_BYTES]).sign(&key, &context("session")).unwrap();
        let rejected_from = expires + LEEWAY;
        let verify = |reserved: &Reserved, key: &SigningKey, session: &str, now: UnixMillis| {
            SignedState::verify(reserved, &[key], &context(session), now).map(|state| state.nonce().expires())
        };
        assert_eq!(verify(&reserved, &key, "session", expires), Ok(rejected_from));
        assert_eq!(verify(&reserved, &key, "session", rejected_from), Err(RejectReason::Expired));
        assert_eq!(verify(&reserved, &key, "another", expires), Err(RejectReason::WrongMac));
        assert_eq!(verify(&reserved, &another, "session", expires), Err(RejectReason::UnknownKey));
        assert_eq!(
            verify(&Reserved::new("hello").unwrap(), &key, "session", expires),
            Err(RejectReason::NotOurs)
        );
    }
}
