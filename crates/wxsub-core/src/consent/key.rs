use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wxsub_proto::{ValidationError, ValidationErrorKind};
use zeroize::Zeroizing;

/// The key that signs the state in `reserved`: at least 16 random bytes, the same on all servers that verify. Drop
/// wipes it.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// The minimum length of a key in bytes: 128 bits.
    pub const MIN: usize = 16;

    /// Creates a key.
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

    /// Returns a short id that shows which key signed and reveals nothing of it.
    pub(super) fn id(&self) -> [u8; 2] {
        let [a, b, ..] = self.mac(&[b"key id".as_slice().into()]);
        [a, b]
    }

    /// Returns the MAC over these parts. Each part is preceded by its length, so different lists never look the
    /// same.
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
        f.write_str("SigningKey(***)")
    }
}
