//! Encryption of stored tokens: AES-256-GCM with a key that Redis never sees.
//!
//! App and generation are authenticated too. A ciphertext copied to another record does not decrypt.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{StoreError, StoreErrorKind};
use wxsub_core::token::Generation;
use zeroize::Zeroizing;

use crate::RedisConfigError;

/// The key that encrypts tokens before they leave the process: 64 hexadecimal digits.
///
/// All processes that share a store need the same key.
#[derive(Clone, derive_more::Debug)]
#[debug("EncryptionKey(***)")]
pub struct EncryptionKey {
    key: LessSafeKey,
    /// Identifies the key in the record: the start of its digest.
    id: String,
}

impl FromStr for EncryptionKey {
    type Err = RedisConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        let length = base16ct::mixed::decode(text, &mut *bytes).map_or(0, <[u8]>::len);
        if length != bytes.len() {
            return Err(RedisConfigError::EncryptionKey);
        }
        let unbound = UnboundKey::new(&AES_256_GCM, &*bytes).map_err(|_| RedisConfigError::EncryptionKey)?;
        let mut context = Context::new(&SHA256);
        context.update(b"wxsub key id\0");
        context.update(&*bytes);
        let id = context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { key: LessSafeKey::new(unbound), id })
    }
}

/// The keys of a store. Both decrypt, and the current one encrypts.
#[derive(Debug)]
pub(crate) struct EncryptionKeys {
    pub(crate) current: EncryptionKey,
    pub(crate) previous: Option<EncryptionKey>,
}

impl EncryptionKeys {
    /// Encrypts a token. Returns the fields of the record.
    pub(crate) fn seal(
        &self,
        app: &AppId,
        generation: Generation,
        token: &AccessToken,
    ) -> Result<[(&'static str, String); 2], StoreError> {
        let sealed = self.current.seal(app, generation, token)?;
        Ok([("token_encrypted", sealed), ("key_id", self.current.id.clone())])
    }

    /// Decrypts a token. `key_id` is the id of the key that encrypted it, if the record has one.
    pub(crate) fn open(
        &self,
        app: &AppId,
        generation: Generation,
        sealed: &str,
        key_id: Option<&str>,
    ) -> Result<AccessToken, OpenError> {
        let bytes = Zeroizing::new(STANDARD.decode(sealed).map_err(|_| OpenError::Broken)?);
        if bytes.len() <= NONCE_LEN + AES_256_GCM.tag_len() {
            return Err(OpenError::Broken);
        }
        let keys = || [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let opened = keys().find_map(|key| key.open(app, generation, &bytes));
        let is_our_key = || keys().any(|key| Some(key.id.as_str()) == key_id);
        opened.ok_or_else(|| if is_our_key() { OpenError::Broken } else { OpenError::OtherKey })
    }
}

/// Why a token cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The ciphertext was changed, or belongs to another record.
    Broken,
    /// Another key encrypted it, as far as it is known.
    OtherKey,
}

impl EncryptionKey {
    /// Encrypts a token. The result is base64 of a random nonce, the ciphertext and its tag.
    fn seal(&self, app: &AppId, generation: Generation, token: &AccessToken) -> Result<String, StoreError> {
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
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated_data(app, generation),
                &mut text,
            )
            .map_err(error)?;
        Ok(STANDARD.encode([&nonce[..], &text, tag.as_ref()].concat()))
    }

    /// Decrypts a token.
    fn open(&self, app: &AppId, generation: Generation, bytes: &[u8]) -> Option<AccessToken> {
        let mut bytes = Zeroizing::new(bytes.to_vec());
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, associated_data(app, generation), text).ok()?;
        AccessToken::new(std::str::from_utf8(opened).ok()?).ok()
    }
}

fn associated_data(app: &AppId, generation: Generation) -> Aad<Vec<u8>> {
    Aad::from(format!("wxsub:1:{app}:{}", generation.get()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: &str) -> EncryptionKey {
        digit.repeat(64).parse().unwrap()
    }

    fn keys(current: &str, previous: Option<&str>) -> EncryptionKeys {
        EncryptionKeys { current: key(current), previous: previous.map(key) }
    }

    #[test]
    fn sealed_token_opens_only_with_its_key_app_and_generation() {
        let (one, two) = ("wx1".parse().unwrap(), "wx2".parse().unwrap());
        let (first, second) = (Generation::new(1), Generation::new(2));
        let token = AccessToken::new("TOKEN").unwrap();
        let [(_, sealed), (_, id)] = keys("a", None).seal(&one, first, &token).unwrap();
        assert!(!sealed.contains("TOKEN"));
        assert_ne!(sealed, key("a").seal(&one, first, &token).unwrap(), "a nonce is used once");
        let id = Some(id.as_str());
        let open = |keys: EncryptionKeys, app, generation, sealed: &str, id| {
            keys.open(app, generation, sealed, id).map(|token| token.expose_secret().to_owned())
        };
        for good in [keys("A", None), keys("b", Some("a"))] {
            assert_eq!(open(good, &one, first, &sealed, id), Ok("TOKEN".to_owned()));
        }
        assert_eq!(open(keys("b", None), &one, first, &sealed, id), Err(OpenError::OtherKey));
        assert_eq!(open(keys("a", None), &two, first, &sealed, id), Err(OpenError::Broken), "another app");
        assert_eq!(
            open(keys("a", None), &one, second, &sealed, id),
            Err(OpenError::Broken),
            "another generation"
        );
        let changed = STANDARD.encode([7; 40]);
        assert_eq!(open(keys("b", Some("a")), &one, first, &changed, id), Err(OpenError::Broken));
        assert_eq!(open(keys("a", None), &one, first, &changed, None), Err(OpenError::OtherKey));
        for broken in ["", "!", "AAAA"] {
            assert_eq!(open(keys("b", None), &one, first, broken, None), Err(OpenError::Broken));
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
