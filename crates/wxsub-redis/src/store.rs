//! The store itself: each method is one script, so that nothing comes in between.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{CasOutcome, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::token::Generation;

use crate::RedisStore;
use crate::record::{RecordFields, forced, format_force_log};

static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/load.lua")));
static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/put_if_newer.lua")));
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/lease.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/release.lua")));
static SET_FIELD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/set_field.lua")));

/// How often a change is tried again that somebody else's came before.
const MAX_CAS_ATTEMPTS: usize = 5;

/// The field of the lost-answer mark.
const LOST_SINCE: &str = "in_doubt_since_ms";

/// The field of the forced refreshes.
const FORCED: &str = "forced_at_ms";

impl RedisStore {
    async fn fields(&self, app: &AppId) -> Result<RecordFields, StoreError> {
        let (now, fields) = self.link.run(&LOAD.key(self.keys.record(app))).await?;
        Ok(RecordFields { now: UnixMillis::new(now), fields })
    }

    /// `asked`: when Redis was asked, by the clock here. This process may have stood still since then, and a token that is
    /// taken for older than it is does no harm.
    fn read(&self, app: &AppId, fields: &RecordFields, asked: UnixMillis) -> Result<TokenRecord, StoreError> {
        fields.read(app, self.encryption.as_ref(), asked)
    }

    /// Changes a field if it is still what it was; else gives what it is.
    async fn set_field(
        &self,
        app: &AppId,
        name: &str,
        before: &str,
        after: &str,
    ) -> Result<Result<(), String>, StoreError> {
        let mut script = SET_FIELD.key(self.keys.record(app));
        let (done, present): (bool, String) = self.link.run(script.arg(name).arg(before).arg(after)).await?;
        Ok(if done { Ok(()) } else { Err(present) })
    }
}

#[async_trait]
impl TokenStore for RedisStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        let asked = self.clock.now().wall;
        self.read(app, &self.fields(app).await?, asked)
    }

    async fn wait_for_change(&self, app: &AppId, known: Generation) -> Generation {
        self.link.hints.newer_than(self.keys.changes(app), known).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        let (field, value) = match &self.encryption {
            Some(key) => ("token_encrypted", key.seal(app, token.generation, &token.token)?),
            None => ("token", token.token.expose_secret().to_owned()),
        };
        let asked = self.clock.now().wall;
        let age = i128::from(asked.get()) - i128::from(token.requested_at.get());
        let age = i64::try_from(age).unwrap_or(if age < 0 { i64::MIN } else { i64::MAX });
        let mut script = PUT.key(self.keys.record(app));
        script.arg(replaces.get()).arg(token.generation.get()).arg(field).arg(value);
        script.arg(token.requested_at.get()).arg(age).arg(millis(token.lifetime)).arg(self.keys.changes(app));
        script.arg(Generation::MAX.get());
        let (stored, now, fields): (bool, u64, HashMap<String, String>) = self.link.run(&script).await?;
        if stored {
            return Ok(CasOutcome::Stored);
        }
        let fields = RecordFields { now: UnixMillis::new(now), fields };
        self.read(app, &fields, asked).map(CasOutcome::Conflict)
    }

    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        let mut script = LEASE.key(self.keys.lease(app));
        self.link.run(script.arg(holder).arg(millis(length).max(1))).await
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.link.run(RELEASE.key(self.keys.lease(app)).arg(holder)).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        match self.set_field(app, LOST_SINCE, "", &since.get().to_string()).await? {
            Err(present) if present.is_empty() => {
                // Only a layout that is not known here refuses that; reading it says which.
                self.load(app).await?;
                Err(StoreError::new("the mark was not made"))
            }
            // The first mark stays.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        // Another's mark stays.
        self.set_field(app, LOST_SINCE, &since.get().to_string(), "").await.map(|_| ())
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        let asked = self.clock.now().wall;
        let fields = self.fields(app).await?;
        // A layout that is not known here is not counted in.
        self.read(app, &fields, asked)?;
        let mut before = fields.fields.get(FORCED).cloned().unwrap_or_default();
        for _ in 0..MAX_CAS_ATTEMPTS {
            let mut log = forced(&before)?;
            if !log.try_acquire(now) {
                return Ok(false);
            }
            match self.set_field(app, FORCED, &before, &format_force_log(&log)).await? {
                Ok(()) => return Ok(true),
                Err(present) => before = present,
            }
        }
        Err(StoreError::new("others keep changing the count of forced refreshes"))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
