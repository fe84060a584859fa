//! The layout of `reserved`: version, key id, expiry, nonce, MAC; in lower-case hexadecimal, 110 characters.

use std::time::Duration;

use subtle::ConstantTimeEq;
use wxsub_proto::Reserved;

use super::{Nonce, SigningKey};
use crate::clock::UnixMillis;

pub(super) const NONCE: usize = 16;

const VERSION: u8 = 1;
/// Version, key id, expiry in unix seconds (five bytes), nonce.
const HEAD: usize = 1 + 2 + 5 + NONCE;
const MAC: usize = 32;

/// How long after its expiry an answer is still taken: machines that verify may be a little behind those that issued.
const LEEWAY: Duration = Duration::from_secs(30);

/// Why an answer is not trusted: for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectReason {
    Absent,
    NotOurs,
    UnknownKey,
    WrongMac,
    Expired,
}

/// What `reserved` says once its MAC is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedState {
    /// From then on it is not taken any more.
    expires: UnixMillis,
    nonce: [u8; NONCE],
}

impl SignedState {
    pub(super) fn new(expires: UnixMillis, nonce: [u8; NONCE]) -> Self {
        Self { expires, nonce }
    }

    pub(super) fn nonce(self) -> Nonce {
        Nonce::new(self.nonce, self.expires)
    }

    pub(super) fn write(self, key: &SigningKey, bound: &[Box<[u8]>]) -> Option<Reserved> {
        let seconds = self.expires.get().div_ceil(1000).to_be_bytes();
        let mut bytes = Vec::with_capacity(HEAD + MAC);
        bytes.push(VERSION);
        bytes.extend(key.id());
        bytes.extend(seconds.iter().skip(3));
        bytes.extend(self.nonce);
        let mac = mac(key, &bytes, bound);
        bytes.extend(mac);
        // Hexadecimal digits within the length: always a valid value.
        Reserved::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).ok()
    }

    pub(super) fn open(
        reserved: &Reserved,
        keys: &[&SigningKey],
        bound: &[Box<[u8]>],
        now: UnixMillis,
    ) -> Result<Self, RejectReason> {
        let bytes = from_hex(reserved.as_str()).ok_or(RejectReason::NotOurs)?;
        let (head, given) =
            bytes.split_at_checked(HEAD).filter(|(_, mac)| mac.len() == MAC).ok_or(RejectReason::NotOurs)?;
        let [VERSION, id_a, id_b, e0, e1, e2, e3, e4, nonce @ ..] = head else {
            return Err(RejectReason::NotOurs);
        };
        // Ids are short: two keys may share one.
        let mut candidates = keys.iter().filter(|key| key.id() == [*id_a, *id_b]).peekable();
        candidates.peek().ok_or(RejectReason::UnknownKey)?;
        if !candidates.any(|key| mac(key, head, bound).ct_eq(given).into()) {
            return Err(RejectReason::WrongMac);
        }
        let seconds = u64::from_be_bytes([0, 0, 0, *e0, *e1, *e2, *e3, *e4]);
        let expires = UnixMillis::new(seconds * 1000).after(LEEWAY);
        let nonce = nonce.try_into().map_err(|_| RejectReason::NotOurs)?;
        if now >= expires { Err(RejectReason::Expired) } else { Ok(Self { expires, nonce }) }
    }
}

fn mac(key: &SigningKey, head: &[u8], bound: &[Box<[u8]>]) -> [u8; MAC] {
    let parts: Vec<Box<[u8]>> = std::iter::once(head.into()).chain(bound.iter().cloned()).collect();
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

    /// What the log says of why an answer was not trusted.
    #[test]
    fn every_flaw_is_told_from_the_others() {
        let key = SigningKey::new(b"sixteen bytes at least").unwrap();
        let another = SigningKey::new(b"another sixteen or more").unwrap();
        let bound = |text: &str| [Box::from(text.as_bytes())];
        let expires = UnixMillis::new(1_000_000);
        let reserved = SignedState::new(expires, [7; NONCE]).write(&key, &bound("session")).unwrap();
        let over = expires.after(LEEWAY);
        let open = |reserved: &Reserved, key: &SigningKey, session: &str, now: UnixMillis| {
            SignedState::open(reserved, &[key], &bound(session), now).map(|seal| seal.nonce().expires())
        };
        assert_eq!(open(&reserved, &key, "session", expires), Ok(over));
        assert_eq!(open(&reserved, &key, "session", over), Err(RejectReason::Expired));
        assert_eq!(open(&reserved, &key, "another", expires), Err(RejectReason::WrongMac));
        assert_eq!(open(&reserved, &another, "session", expires), Err(RejectReason::UnknownKey));
        assert_eq!(
            open(&Reserved::new("hello").unwrap(), &key, "session", expires),
            Err(RejectReason::NotOurs)
        );
    }
}
