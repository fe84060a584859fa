//! The same request twice is one message: keys and fingerprints.

use std::fmt;
use std::str::FromStr;

use derive_more::Display;
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sha2::{Digest, Sha256};
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, Message};

use crate::id::MessageId;
use crate::state::Priority;

/// A key that the sender chose: 1 to 255 visible ASCII characters, as in the IETF draft
/// [Idempotency-Key](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Display, SerializeDisplay, DeserializeFromStr,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdempotencyKey(String);

/// A text that cannot be an [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("idempotency_key: must have 1 to 255 visible ASCII characters; choose another key")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Takes the text if it keeps the rules.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is empty, too long or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let valid =
            (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text)) } else { Err(InvalidKey) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// Within which a key is one: the app and the client that sent it. An embedded outbox has one client, named `""`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct KeyScope {
    /// The app.
    pub appid: AppId,
    /// The client.
    pub client: String,
    /// The key.
    pub key: IdempotencyKey,
}

/// The client to which the keys of a batch belong. No other client has such a name.
#[must_use]
pub fn batch_client(name: &str) -> String {
    format!("{BATCH_CLIENT}{name}")
}

/// How the clients of batches begin.
pub(crate) const BATCH_CLIENT: &str = "batch:";

/// The client to which the ids of inbox rows belong as keys. No other client has such a name.
pub const INBOX_CLIENT: &str = "inbox:";

/// What a request with a key asks for, as a digest: another content under the same key is a mistake of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a message, and of what goes with it on this route.
    #[must_use]
    pub fn new(
        route: &str,
        message: &Message,
        send_at: Option<UnixMillis>,
        expires_at: Option<UnixMillis>,
        priority: Priority,
    ) -> Self {
        let mut digest = Sha256::new();
        let number = |at: Option<UnixMillis>| at.map_or_else(String::new, |at| at.get().to_string());
        // No part can contain the character between them.
        for part in [route, priority.as_str(), &number(send_at), &number(expires_at)] {
            digest.update(part);
            digest.update([0]);
        }
        digest.update(message.to_json());
        Self(digest.finalize().into())
    }

    /// Of bytes: a line that is not a valid message, or an id that is no valid key.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// With these bytes, which a ledger has stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The latest time that every ledger can store.
pub const NEVER: UnixMillis = UnixMillis::new(i64::MAX.unsigned_abs());

/// A key in use: one row of `wxsub_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct StoredKey {
    /// Where it holds.
    pub scope: KeyScope,
    /// What was asked for.
    pub fingerprint: Fingerprint,
    /// The message that it stands for. Its row is kept as long as the key.
    pub message: MessageId,
    /// When the ledger looks whether the key may be deleted: [`NEVER`] for a key of a batch.
    pub check_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use wxsub_proto::{Grant, Message};

    use super::*;

    #[test]
    fn keys_have_visible_ascii_only() {
        for good in ["a", "order-4711", "\"quoted\"", &"k".repeat(255)] {
            assert_eq!(IdempotencyKey::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\n", "键", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad), Err(InvalidKey), "{bad}");
        }
    }

    #[test]
    fn every_part_of_a_request_changes_its_fingerprint() {
        let grant = Grant::assume_verified("o", "T", 7).unwrap();
        let message = |text: &str| Message::builder(grant.clone()).title("t").content(text).build().unwrap();
        let at = |millis| Some(UnixMillis::new(millis));
        let base = Fingerprint::new("outbox", &message("a"), at(1), None, Priority::Normal);
        assert_eq!(base, Fingerprint::new("outbox", &message("a"), at(1), None, Priority::Normal));
        for other in [
            Fingerprint::new("messages", &message("a"), at(1), None, Priority::Normal),
            Fingerprint::new("outbox", &message("b"), at(1), None, Priority::Normal),
            Fingerprint::new("outbox", &message("a"), at(2), None, Priority::Normal),
            Fingerprint::new("outbox", &message("a"), None, at(1), Priority::Normal),
            Fingerprint::new("outbox", &message("a"), at(1), None, Priority::High),
        ] {
            assert_ne!(base, other);
        }
    }
}
