//! The keys of clients: made here, shown once, and from then on known by their digest.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Every character that a key can have.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// How many of them it has: more than 256 bits.
const LENGTH: usize = 43;

/// What a client shows to be let in: 43 of `[A-Za-z0-9]`. Redacted in `Debug`, wiped on drop.
#[derive(Clone)]
pub struct ClientKey(Zeroizing<String>);

impl ClientKey {
    /// A new one, from the system's CSPRNG.
    ///
    /// # Errors
    /// [`NoRandomness`] if this machine has none to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new(String::with_capacity(LENGTH));
        let mut bytes = Zeroizing::new([0; 64]);
        while key.len() < LENGTH {
            getrandom::fill(&mut *bytes).map_err(|_| NoRandomness)?;
            // A byte beyond the last whole alphabet would make some characters likelier than others.
            let even = bytes.iter().filter(|byte| usize::from(**byte) < 4 * ALPHABET.len());
            let characters = even.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
            let missing = LENGTH - key.len();
            key.extend(characters.take(missing).map(|byte| char::from(*byte)));
        }
        Ok(Self(key))
    }

    /// Takes the text if it has the form of a key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself: for its owner, and for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the configuration knows it by.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(***)")
    }
}

/// There are no random numbers to make a key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine gives no random numbers, so no key can be made")]
pub struct NoRandomness;

/// The SHA-256 of a key. It tells nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let digits = text.bytes().map(value).collect::<Option<Vec<u8>>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high * 16 + low).collect();
        Some(Self(bytes.try_into().ok().filter(|_| rest.is_empty())?))
    }

    /// Whether both are the same, compared without stopping at the first difference.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn new_keys_are_43_characters_and_all_different() {
        let keys: HashSet<String> =
            (0..100).map(|_| ClientKey::generate().unwrap().expose().to_owned()).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| ClientKey::parse(key).is_some()));
        let characters: HashSet<char> = keys.iter().flat_map(|key| key.chars()).collect();
        assert_eq!(characters.len(), 62);
    }

    #[test]
    fn only_the_form_of_a_key_is_one() {
        for bad in ["", "short", &"a".repeat(42), &"a".repeat(44), &format!("{}-", "a".repeat(42))] {
            assert!(ClientKey::parse(bad).is_none(), "{bad}");
        }
        let key = ClientKey::parse(&"a".repeat(43)).unwrap();
        assert_eq!(format!("{key:?}"), "ClientKey(***)");
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = ClientKey::parse(&"a".repeat(43)).unwrap().digest();
        let text = digest.to_string();
        assert_eq!(text.len(), 64);
        assert!(KeyDigest::parse(&text).unwrap().same_as(&digest));
        let other = ClientKey::parse(&"b".repeat(43)).unwrap().digest();
        assert!(!other.same_as(&digest));
        let odd = format!("{text}0");
        for bad in ["", "0", &text.to_uppercase(), &text[1..], &odd, &"g".repeat(64)] {
            assert!(KeyDigest::parse(bad).is_none(), "{bad}");
        }
    }
}
