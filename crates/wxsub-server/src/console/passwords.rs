//! The verification of passwords: one at a time, in memory of its own.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use crate::config::{PasswordHash, PasswordMemory};

/// How many logins of unknown browsers wait for their turn, the one whose turn it is included.
const MAX_UNKNOWN: usize = 8;

/// Verifies passwords.
pub(super) struct Passwords {
    /// Locked during a verification.
    memory: Arc<Mutex<PasswordMemory>>,
    unknown: Semaphore,
}

/// Too many logins wait.
pub(super) struct Overloaded;

impl Default for Passwords {
    fn default() -> Self {
        Self { memory: Arc::default(), unknown: Semaphore::new(MAX_UNKNOWN) }
    }
}

impl Passwords {
    /// Whether this is the password of the hash.
    ///
    /// # Errors
    /// [`Overloaded`] if too many logins wait already. Known browsers always get a turn.
    ///
    /// # Cancel safety
    /// The verification goes on without its caller.
    pub(super) async fn verify(
        &self,
        hash: &PasswordHash,
        password: &str,
        is_known: bool,
    ) -> Result<bool, Overloaded> {
        let _place = match is_known {
            true => None,
            false => Some(self.unknown.try_acquire().map_err(|_| Overloaded)?),
        };
        let (hash, password) = (hash.clone(), Zeroizing::new(password.to_owned()));
        let mut memory = Arc::clone(&self.memory).lock_owned().await;
        let verification = tokio::task::spawn_blocking(move || hash.matches(&password, &mut memory));
        // It fails only if the runtime ends.
        Ok(verification.await.unwrap_or_default())
    }
}
