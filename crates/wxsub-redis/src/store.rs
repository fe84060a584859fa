//! [`TokenStore`] on Redis. Every read or change is one script, so it is atomic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use wxsub_core::clock::{Clock, MonotonicInstant, UnixMillis, millis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{
    CasOutcome, ChangeLog, ChangeWatcher, LeaseOutcome, LoggedChanges, MAX_LEASE, StoreChange, StoreError,
    StoreErrorKind, StoredToken, TokenRecord, TokenStore,
};
use wxsub_core::token::Generation;

use crate::connection::RedisConnection;
use crate::encryption::EncryptionKeys;
use crate::keys::Keys;
use crate::record::{RecordFields, format_force_log, parse_force_log};
use crate::scripts::{ACQUIRE_LEASE, COMPARE_AND_SET, LOAD, READ_CHANGES, RELEASE_LEASE, SET_FIELD};

/// How often a compare-and-set is tried while peers change the same field.
const MAX_CAS_ATTEMPTS: usize = 5;

/// Maximum number of changes in one response.
const MAX_CHANGES: usize = 1_000;

/// The field of the in-doubt marker.
const IN_DOUBT_SINCE: &str = "in_doubt_since_ms";

/// The field that lists forced refreshes.
const FORCED_AT: &str = "forced_at_ms";

/// Largest age that is stored, in milliseconds. Lua calculates with doubles.
const MAX_AGE_MS: i128 = 1 << 52;

/// A token store in Redis, with one record per app. See the [crate](crate).
#[derive(Debug)]
pub struct RedisStore {
    pub(crate) connection: RedisConnection,
    pub(crate) keys: Keys,
    pub(crate) encryption: Option<EncryptionKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watcher: Arc<ChangeWatcher>,
    /// The Redis time of the last response, and when the response was here.
    pub(crate) redis_time: Mutex<Option<(UnixMillis, MonotonicInstant)>>,
}

impl RedisStore {
    async fn fields(&self, app: &AppId) -> Result<RecordFields, StoreError> {
        let (now, fields) = self.connection.run(&LOAD.key(self.keys.record(app))).await?;
        Ok(RecordFields { now: self.read_redis_time(now), fields })
    }

    fn read_redis_time(&self, now: u64) -> UnixMillis {
        let now = UnixMillis::new(now);
        *self.redis_time.lock() = Some((now, self.clock.now().mono));
        now
    }

    /// The Redis time at this local time, or a little earlier. `None` before the first response.
    fn redis_time(&self, now: MonotonicInstant) -> Option<UnixMillis> {
        self.redis_time.lock().map(|(redis_time, read_at)| redis_time + now.duration_since(read_at))
    }

    /// Sets a field if its value is still `before`; otherwise returns the current value.
    async fn set_field(
        &self,
        app: &AppId,
        name: &str,
        before: &str,
        after: &str,
    ) -> Result<Result<(), String>, StoreError> {
        let mut script = SET_FIELD.key(self.keys.record(app));
        script.key(self.keys.change_log()).arg(app.as_str());
        let (done, current): (bool, String) =
            self.connection.run(script.arg(name).arg(before).arg(after)).await?;
        Ok(if done { Ok(()) } else { Err(current) })
    }
}

#[async_trait]
impl ChangeLog for RedisStore {
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError> {
        let mut script = READ_CHANGES.key(self.keys.change_log());
        let (connection, (beginning, changes)): (u64, (String, Vec<(String, u64)>)) =
            self.connection.run_numbered(script.arg(from).arg(MAX_CHANGES)).await?;
        let has_more = changes.len() == MAX_CHANGES;
        // The mark of the beginning is no AppID.
        let app = |(app, position): (String, u64)| Some((AppId::new(app).ok()?, position));
        let changes = changes.into_iter().filter_map(app).collect();
        Ok(LoggedChanges { epoch: format!("{connection} {beginning}"), changes, has_more })
    }
}

#[async_trait]
impl TokenStore for RedisStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        // A pause during the read can only make the token look older.
        let started_at = self.clock.now().wall;
        self.fields(app).await?.parse(app, self.encryption.as_ref(), started_at)
    }

    async fn wait_for_change(&self, app: &AppId, seen: u64) -> StoreChange {
        self.watcher.wait_for_change(self, app, seen).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        let sealed = match &self.encryption {
            Some(keys) => keys.seal(app, token.generation, &token.token)?.to_vec(),
            None => vec![("token", token.token.expose_secret().to_owned())],
        };
        let now = self.clock.now();
        let started_at = now.wall;
        let age = i128::from(started_at.get()) - i128::from(token.requested_at.get());
        let age = i64::try_from(age.clamp(-MAX_AGE_MS, MAX_AGE_MS)).unwrap_or_default();
        let mut script = COMPARE_AND_SET.key(self.keys.record(app));
        script.arg(replaces.get()).arg(token.generation.get()).arg(Generation::MAX.get());
        script.key(self.keys.change_log()).arg(app.as_str());
        script.arg(self.keys.channel(app)).arg(age);
        script.arg(self.redis_time(now.mono).map_or(String::new(), |time| time.get().to_string()));
        script.arg(u8::from(token.keeps_marker));
        script.arg(&sealed).arg("requested_at_ms").arg(token.requested_at.get());
        script.arg("lifetime_ms").arg(millis(token.lifetime));
        if let Some(upstream) = token.upstream {
            script.arg("upstream").arg(upstream.to_string());
        }
        let (stored, now, fields): (bool, u64, HashMap<String, String>) =
            self.connection.run(&script).await?;
        if stored {
            return Ok(CasOutcome::Stored);
        }
        let fields = RecordFields { now: self.read_redis_time(now), fields };
        fields.parse(app, self.encryption.as_ref(), started_at).map(CasOutcome::Conflict)
    }

    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let mut script = ACQUIRE_LEASE.key(self.keys.lease(app));
        script.arg(holder).arg(millis(length).max(1)).arg(millis(MAX_LEASE));
        let other: Option<String> = self.connection.run(&script).await?;
        Ok(other.map_or(LeaseOutcome::Acquired, LeaseOutcome::HeldBy))
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.connection.run(RELEASE_LEASE.key(self.keys.lease(app)).arg(holder)).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        match self.set_field(app, IN_DOUBT_SINCE, "", &since.get().to_string()).await? {
            Err(current) if current.is_empty() => {
                // Only an unknown layout refuses this change. Loading the record returns an error that names it.
                self.load(app).await?;
                Err(StoreError::new(StoreErrorKind::Failed, "the record refused the in-doubt marker"))
            }
            // An earlier marker stays.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        // The marker of another fetch stays.
        self.set_field(app, IN_DOUBT_SINCE, &since.get().to_string(), "").await.map(|_| ())
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        let started_at = self.clock.now().wall;
        let fields = self.fields(app).await?;
        // Returns an error for an unknown layout.
        fields.parse(app, self.encryption.as_ref(), started_at)?;
        let mut before = fields.fields.get(FORCED_AT).cloned().unwrap_or_default();
        for _ in 0..MAX_CAS_ATTEMPTS {
            let mut log = parse_force_log(&before);
            if !log.try_acquire(now) {
                return Ok(false);
            }
            match self.set_field(app, FORCED_AT, &before, &format_force_log(&log)).await? {
                Ok(()) => return Ok(true),
                Err(current) => before = current,
            }
        }
        let detail =
            format!("cannot count the forced refresh: peers changed the record {MAX_CAS_ATTEMPTS} times");
        Err(StoreError::new(StoreErrorKind::Failed, detail))
    }
}
