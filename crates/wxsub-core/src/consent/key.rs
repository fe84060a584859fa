use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wxsub_proto::{ValidationError, ValidationErrorKind};
use zeroize::Zeroizing;

/// The key that signs `reserved`: at least 16 random bytes, the same on every server that verifies. Wiped on drop.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// The fewest bytes a key may have: 128 bits.
    pub const MIN: usize = 16;

    /// Takes the key.
    ///
    /// # Errors
    /// [`ValidationError`] if it is shorter than [`MIN`](Self::MIN).
    pub fn new(key: &[u8]) -> Result<Self, ValidationError> {
        if key.len() < Self::MIN {
            return Err(ValidationError::new(
                "guard_key",
                ValidationErrorKind::InvalidFormat { expected: "at least 16 random bytes" },
            ));
        }
        Ok(Self(Zeroizing::new(key.to_vec())))
    }

    /// A short name for the key that gives nothing away: tells which of two keys signed.
    pub(super) fn id(&self) -> [u8; 2] {
        let [a, b, ..] = self.mac(&[b"key id".as_slice().into()]);
        [a, b]
    }

    /// The MAC over these parts, each with its length, so that no two lists of parts look the same.
    pub(super) fn mac(&self, parts: &[Box<[u8]>]) -> [u8; 32] {
        let mut mac = self.keyed();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn keyed(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardKey(***)")
    }
}
