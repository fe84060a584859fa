//! Tries what the store needs of Redis.

use std::time::Duration;

use wxsub_core::clock::timeout_at;
use wxsub_core::store::{StoreError, StoreErrorKind};

use crate::error::kind_of_refusal;
use crate::scripts::CHECK;
use crate::store::RedisStore;

/// Limit for the whole check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

impl RedisStore {
    /// Tries what the store needs of Redis: a connection, the password, reads, writes, and each right. Tries it on keys
    /// of its own, and leaves nothing behind. Takes 5 s at most.
    ///
    /// A Redis Cluster is an error of the kind [`Cluster`](StoreErrorKind::Cluster), whichever of its nodes is asked.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong. If rights are missing, it names the commands.
    ///
    /// # Cancel safety
    /// Keys of the check may stay for a minute.
    pub async fn check(&self) -> Result<(), StoreError> {
        let deadline = self.clock.now().mono + CHECK_TIMEOUT;
        let checked = timeout_at(&*self.clock, deadline, self.try_commands()).await;
        checked.unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::Unreachable, "no response in time")))
    }

    async fn try_commands(&self) -> Result<(), StoreError> {
        let [hash, string, sorted_set] = self.keys.of_check();
        let mut script = CHECK.key(hash);
        script.key(string).key(&sorted_set).arg(&sorted_set);
        let mut errors: Vec<(String, String)> = self.connection.run(&script).await?;
        match self.connection.subscribe().await {
            Err(error) if error.kind() == StoreErrorKind::MissingRight => {
                errors.push(("PSUBSCRIBE".to_owned(), "NOPERM".to_owned()));
            }
            subscribed => subscribed?,
        }
        let Some((_, text)) = errors.first() else { return Ok(()) };
        let kind = kind_of_refusal(text);
        let refused = errors.iter().filter(|(_, text)| kind_of_refusal(text) == kind);
        let commands: Vec<_> = refused.map(|(command, _)| command.as_str()).collect();
        let commands = commands.join(", ");
        Err(match kind {
            Some(kind) => StoreError::new(kind, format!("Redis refused {commands}")),
            None => StoreError::new(StoreErrorKind::Failed, format!("Redis refused {commands}: {text}")),
        })
    }
}
