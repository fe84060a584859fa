//! Client keys: generated here and printed once. The server stores only their digests.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_api::ApiKey;
use wxsub_core::consent::RngError;
use zeroize::Zeroizing;

/// The characters of a key.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Generates a client key from the system's CSPRNG.
///
/// # Errors
/// [`RngError`] if the system gives no random bytes.
pub fn generate_api_key() -> Result<ApiKey, RngError> {
    let mut key = Zeroizing::new(String::with_capacity(ApiKey::LENGTH));
    let mut bytes = Zeroizing::new([0; 64]);
    while key.len() < ApiKey::LENGTH {
        getrandom::fill(&mut *bytes).map_err(|_| RngError)?;
        // Bytes above a multiple of the alphabet's length are skipped: they would make some characters more likely.
        let unbiased = bytes.iter().filter(|byte| usize::from(**byte) < 4 * ALPHABET.len());
        let characters = unbiased.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        let missing = ApiKey::LENGTH - key.len();
        key.extend(characters.take(missing).map(|byte| char::from(*byte)));
    }
    // The text is a valid key here, so this cannot fail.
    ApiKey::new(std::mem::take(&mut *key)).map_err(|_| RngError)
}

/// The SHA-256 of a key. It does not reveal the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Display, derive_more::Debug)]
#[display("{:x}", base16ct::HexDisplay(_0))]
#[debug("ApiKeyDigest({:.8}…)", self.to_string())]
pub struct ApiKeyDigest([u8; 32]);

impl ApiKeyDigest {
    /// The digest of this key, as the configuration stores it.
    #[must_use]
    pub fn of(key: &ApiKey) -> Self {
        Self(Sha256::digest(key.expose_secret().as_bytes()).into())
    }

    /// Parses 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let length = base16ct::lower::decode(text, &mut digest).ok()?.len();
        (length == digest.len()).then_some(Self(digest))
    }

    /// Whether both are equal. The comparison takes constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_keys_are_valid_and_differ() {
        let keys: HashSet<String> =
            (0..100).map(|_| generate_api_key().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| ApiKey::new(key).is_ok()));
        let characters: HashSet<char> = keys.iter().flat_map(|key| key.chars()).collect();
        assert_eq!(characters.len(), 62);
    }

    #[test]
    fn digest_round_trips_as_text() {
        let digest = ApiKeyDigest::of(&ApiKey::new("a".repeat(43)).unwrap());
        let text = digest.to_string();
        assert_eq!(text.len(), 64);
        assert!(ApiKeyDigest::parse(&text).unwrap().ct_eq(&digest));
        let other = ApiKeyDigest::of(&ApiKey::new("b".repeat(43)).unwrap());
        assert!(!other.ct_eq(&digest));
        assert_eq!(format!("{digest:?}"), format!("ApiKeyDigest({}…)", &text[..8]));
        let odd = format!("{text}0");
        for bad in ["", "0", &text.to_uppercase(), &text[1..], &odd, &"g".repeat(64)] {
            assert!(ApiKeyDigest::parse(bad).is_none(), "{bad}");
        }
    }
}
