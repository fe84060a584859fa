//! Encryption of stored tokens: AES-256-GCM with a key that Redis never sees.
//!
//! App and generation are authenticated too. A ciphertext copied to another record does not decrypt.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{StoreError, StoreErrorKind};
use wxsub_core::token::Generation;
use zeroize::Zeroizing;

use crate::RedisConfigError;

/// The key that encrypts tokens before they leave the process: 64 hexadecimal digits.
///
/// All processes that share a store need the same key.
#[derive(Clone)]
pub struct EncryptionKey(LessSafeKey);

impl FromStr for EncryptionKey {
    type Err = RedisConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = Zeroizing::new([0_u8; 32]);
        let length = base16ct::mixed::decode(text, &mut *key).map_or(0, <[u8]>::len);
        if length != key.len() {
            return Err(RedisConfigError::EncryptionKey);
        }
        let unbound = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| RedisConfigError::EncryptionKey)?;
        Ok(Self(LessSafeKey::new(unbound)))
    }
}

impl EncryptionKey {
    /// Encrypts a token. The result is base64 of a random nonce, the ciphertext and its tag.
    pub(crate) fn seal(
        &self,
        app: &AppId,
        generation: Generation,
        token: &AccessToken,
    ) -> Result<String, StoreError> {
        let error = |_| {
            StoreError::new(
                StoreErrorKind::Failed,
                "cannot encrypt the token: the random generator or the cipher failed",
            )
        };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(error)?;
        let mut text = Zeroizing::new(token.expose_secret().as_bytes().to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated_data(app, generation),
                &mut text,
            )
            .map_err(error)?;
        Ok(STANDARD.encode([&nonce[..], &text, tag.as_ref()].concat()))
    }

    /// Decrypts a token.
    pub(crate) fn open(
        &self,
        app: &AppId,
        generation: Generation,
        sealed: &str,
    ) -> Result<AccessToken, StoreError> {
        let error = || StoreError::new(StoreErrorKind::EncryptionKey, "cannot decrypt the token");
        let mut bytes = Zeroizing::new(STANDARD.decode(sealed).map_err(|_| error())?);
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(error)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| error())?;
        let opened =
            self.0.open_in_place(nonce, associated_data(app, generation), text).map_err(|_| error())?;
        let text = std::str::from_utf8(opened).map_err(|_| error())?;
        AccessToken::new(text).map_err(|_| error())
    }
}

fn associated_data(app: &AppId, generation: Generation) -> Aad<Vec<u8>> {
    Aad::from(format!("wxsub:1:{app}:{}", generation.get()).into_bytes())
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: &str) -> EncryptionKey {
        digit.repeat(64).parse().unwrap()
    }

    #[test]
    fn sealed_token_opens_only_with_its_key_app_and_generation() {
        let (one, two) = ("wx1".parse().unwrap(), "wx2".parse().unwrap());
        let (first, second) = (Generation::new(1), Generation::new(2));
        let token = AccessToken::new("TOKEN").unwrap();
        let sealed = key("a").seal(&one, first, &token).unwrap();
        assert!(!sealed.contains("TOKEN"));
        assert_ne!(sealed, key("a").seal(&one, first, &token).unwrap(), "a nonce is used once");
        assert_eq!(key("A").open(&one, first, &sealed).unwrap().expose_secret(), "TOKEN");
        assert!(key("b").open(&one, first, &sealed).is_err(), "another key");
        assert!(key("a").open(&two, first, &sealed).is_err(), "another app");
        assert!(key("a").open(&one, second, &sealed).is_err(), "another generation");
        for invalid in ["", "!", "AAAA", &STANDARD.encode([7; 40])] {
            let error = key("a").open(&one, first, invalid).unwrap_err().to_string();
            assert!(error.contains("same encryption key"), "{error}");
        }
    }

    #[test]
    fn key_has_64_digits_and_debug_hides_it() {
        for invalid in ["", "aa", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32), &"+a".repeat(32)] {
            assert_eq!(invalid.parse::<EncryptionKey>().unwrap_err(), RedisConfigError::EncryptionKey);
        }
        assert_eq!(format!("{:?}", key("a")), "EncryptionKey(***)");
    }
}
