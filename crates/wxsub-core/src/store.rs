//! Sharing a token between processes.

mod memory;
mod record;

pub use memory::MemoryStore;
pub use record::{StoredToken, TokenRecord};

use std::fmt;
use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_proto::AppId;

use crate::clock::UnixMillis;
use crate::token::Generation;

/// Keeps one [`TokenRecord`] per app, for several keepers. The lease saves calls; the generation keeps it right: whatever
/// happens to a lease, an older token never replaces a newer one.
///
/// Every method has a deadline of its own; an error means "not done, or not known". Keepers then serve
/// what they hold and fetch without the store only when waiting for it would cost more: shortly before the token ends, after
/// Weixin has rejected it, or, with `stable_token`, whenever it is due.
#[async_trait]
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The record of this app; an empty one if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read now.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError>;

    /// The last token known to this process from an earlier time, for a start while [`load`](Self::load) fails. `None` unless a
    /// store has such a memory.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn load_fallback(&self, _app: &AppId) -> Option<StoredToken> {
        None
    }

    /// Waits for a hint that another process has stored a token newer than `known`, and gives its generation. Keepers then
    /// read the record at once instead of within 2 s. Hints may be late, false or missing; a store that gives none waits
    /// for ever.
    ///
    /// # Cancel safety
    /// Changes nothing; a hint that was not heard is given to whoever asks next.
    async fn wait_for_change(&self, _app: &AppId, _known: Generation) -> Generation {
        pending().await
    }

    /// Stores the token if the stored generation is still `replaces` and lower than the new one. Clears the lost-answer
    /// mark when it does. Otherwise the record stays and is handed back.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known whether the token was stored.
    ///
    /// # Cancel safety
    /// The token may or may not have been stored; nothing in between.
    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError>;

    /// Takes the right to refresh for `length`, unless another holder has it. A holder that asks again has it for `length`
    /// from then on, be that longer or shorter.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known whether the lease was taken. A keeper takes it as not taken.
    ///
    /// # Cancel safety
    /// The lease may or may not have been taken; it ends by itself.
    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError>;

    /// Gives the lease back, if this holder has it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be reached; the lease then ends by itself.
    ///
    /// # Cancel safety
    /// The lease may or may not have been given back; it ends by itself.
    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError>;

    /// Notes that a fetch which ends the stored token is about to be made. The first mark stays until a token is stored
    /// or the mark is [cleared](Self::clear_in_doubt).
    ///
    /// # Errors
    /// [`StoreError`] if it is not known whether the mark was made.
    ///
    /// # Cancel safety
    /// The mark may or may not have been made.
    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError>;

    /// Takes the mark away that was made at `since`: that fetch certainly ended nothing. Another's mark stays.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known whether the mark is gone.
    ///
    /// # Cancel safety
    /// The mark may or may not be gone.
    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError>;

    /// Takes one forced refresh from this app's [ration](crate::token::ForceRefreshLog); `false` if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known; treat it as none.
    ///
    /// # Cancel safety
    /// One may or may not have been taken.
    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError>;
}

/// What became of a token offered to a store.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "compare-and-set has these two ends")]
pub enum CasOutcome {
    /// It is stored.
    Stored,
    /// The record had changed meanwhile, or its generation is not lower: this is what it holds.
    Conflict(TokenRecord),
}

/// The store did not do it, or nobody knows whether it did. Never holds a token or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token store failed: {0}")]
pub struct StoreError(String);

impl StoreError {
    /// With a text that must not contain a secret.
    pub fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }
}
