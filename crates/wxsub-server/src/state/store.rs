//! Token stores of the server: files, and files as the fallback of a shared store.

mod folder;
mod record_writer;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use wxsub_core::clock::{Clock, UnixMillis, timeout_at};
use wxsub_core::store::{
    CasOutcome, LeaseOutcome, MemoryStore, StoreError, StoreErrorKind, StoredToken, TokenFallback,
    TokenRecord, TokenStore,
};
use wxsub_core::token::{ForceRefreshLog, Generation};
use wxsub_proto::{AccessToken, AppId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::folder::StateError;
use self::folder::StateFolder;
use self::record_writer::{NewLine, RecordWriter};
use crate::state::locked;

/// Maximum time that a change waits for the disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// A token store in a folder: one file per app, readable by this user only. A crash during a write leaves the record before it.
///
/// One server uses the folder at a time. Records are kept in memory too, so reads never wait for the disk.
#[derive(derive_more::Debug)]
#[debug("FileStore")]
pub struct FileStore {
    writer: Arc<RecordWriter>,
    memory: MemoryStore,
    clock: Arc<dyn Clock>,
    /// Serializes the writes of each app, so that the file gets the last change last.
    write_locks: Mutex<HashMap<AppId, Arc<AsyncMutex<()>>>>,
    corrupt_apps: HashSet<AppId>,
}

impl FileStore {
    /// Opens the folder for this process alone, and creates it if necessary.
    ///
    /// A file that cannot be read is renamed to `*.broken`. Its app starts without a token.
    ///
    /// # Errors
    /// [`StateError`] if another server uses the folder, or it cannot be read or written.
    ///
    /// # Cancel safety
    /// Dropping the future releases the folder. Open it again.
    pub async fn open(folder: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let folder = StateFolder::open(folder.as_ref())?;
        let memory = MemoryStore::private(Arc::clone(&clock));
        let mut corrupt_apps = HashSet::new();
        for path in folder.files()? {
            let Some(app) = app_of(&path) else { continue };
            match read_record(&path) {
                Ok(record) => restore(&memory, &app, record).await,
                Err(error) => {
                    tracing::error!(appid = %app, %error, "reading a state file failed; the app starts without it");
                    // The next token replaces a file that stays.
                    if let Err(error) = fs::rename(&path, path.with_extension("broken")) {
                        tracing::error!(appid = %app, %error, "renaming the state file to *.broken failed");
                    }
                    corrupt_apps.insert(app);
                }
            }
        }
        let writer = RecordWriter::new(move |new| folder.write(new));
        Ok(Self { writer, memory, clock, write_locks: Mutex::default(), corrupt_apps })
    }

    /// Tries what [`open`](Self::open) needs: that the folder can be locked and written.
    ///
    /// # Errors
    /// As [`open`](Self::open). Folders that did not exist are removed again.
    pub fn check(folder: &Path) -> Result<(), StateError> {
        let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        let opened = StateFolder::open(folder).map(|opened| {
            if !missing.is_empty() {
                opened.remove_lock_file();
            }
        });
        // The innermost one first. One that another process uses by now is not empty, and stays.
        for folder in missing {
            let _ = fs::remove_dir(folder);
        }
        opened
    }

    /// The apps whose files could not be read when the store was opened.
    #[must_use]
    pub fn corrupt_apps(&self) -> &HashSet<AppId> {
        &self.corrupt_apps
    }

    /// Saves a token of another store for the next start, unless the saved one is newer.
    pub(crate) async fn back_up(&self, app: &AppId, token: &StoredToken) {
        let Ok(mut record) = self.memory.load(app).await else { return };
        while record.generation() < token.generation {
            match self.compare_and_set(app, record.generation(), token.clone()).await {
                // Another token was saved meanwhile.
                Ok(CasOutcome::Conflict(newer)) => record = newer,
                // `change` logs an error, and the other store has the token.
                Ok(CasOutcome::Stored) | Err(_) => return,
            }
        }
    }

    /// Changes a record in memory and writes its file.
    async fn change<T>(
        &self,
        app: &AppId,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let write_lock = {
            let mut write_locks = locked(&self.write_locks);
            Arc::clone(write_locks.entry(app.clone()).or_default())
        };
        let change = async {
            let guard = write_lock.lock_owned().await;
            let changed = change.await?;
            let line = encode(&self.memory.load(app).await?).map_err(|error| not_written(&error))?;
            let new = NewLine { name: format!("{app}.json"), line };
            // The write continues after a timeout or cancellation, and holds the lock until it is done.
            let written = self.writer.write(new, guard).await;
            written.map(|()| changed).map_err(|error| not_written(&error))
        };
        let deadline = self.clock.now().mono + DISK_TIMEOUT;
        let result = timeout_at(&*self.clock, deadline, change).await;
        let result = result.unwrap_or_else(|| {
            Err(not_written(&format_args!("no result within {} s", DISK_TIMEOUT.as_secs())))
        });
        result.inspect_err(|error| tracing::warn!(appid = %app, %error, "the record was kept in memory only"))
    }
}

fn not_written(cause: &dyn fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Failed, format!("cannot write the state file: {cause}; check the disk"))
}

/// Puts a record that was read from a file into memory. The memory store cannot fail.
async fn restore(memory: &MemoryStore, app: &AppId, record: TokenRecord) {
    if let Some(token) = record.token {
        let _ = memory.compare_and_set(app, Generation::default(), token).await;
    }
    if let Some(since) = record.in_doubt_since {
        let _ = memory.set_in_doubt(app, since).await;
    }
    for used in record.forced.used() {
        let _ = memory.try_acquire_force_refresh(app, *used).await;
    }
}

#[async_trait]
impl TokenStore for FileStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.memory.load(app).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.change(app, self.memory.compare_and_set(app, replaces, token)).await
    }

    /// Leases are in memory only, because one process uses the folder.
    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        self.memory.acquire_lease(app, holder, length).await
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.memory.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.change(app, self.memory.set_in_doubt(app, since)).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.change(app, self.memory.clear_in_doubt(app, since)).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.change(app, self.memory.try_acquire_force_refresh(app, now)).await
    }
}

/// The version of a line. Other versions cannot be read.
const VERSION: u32 = 1;

/// A line of a file.
#[serde_with::skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateLine {
    version: u32,
    token: Option<StateToken>,
    in_doubt_since_ms: Option<u64>,
    forced_at_ms: Vec<u64>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StateToken {
    access_token: String,
    generation: u64,
    requested_at_ms: u64,
    lifetime_ms: u64,
}

/// The app of a file, if its name is that of a record.
fn app_of(path: &Path) -> Option<AppId> {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    path.file_stem()?.to_str().filter(|_| is_json)?.parse().ok()
}

/// Reads the record of the last whole line. An error contains the position of the fault, but nothing of the content.
fn read_record(path: &Path) -> io::Result<TokenRecord> {
    let content = StateFolder::read(path)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut lines = content.rsplit(|byte| *byte == b'\n').map(serde_json::from_slice::<StateLine>);
    // A crash or a full disk leaves a part of a line, which is no JSON.
    let whole = lines.find(|line| line.as_ref().map_or_else(serde_json::Error::is_data, |_| true));
    let line = whole.ok_or_else(|| invalid("no line of it is a record"))?.map_err(|error| {
        invalid(&format!("its last whole line is no record: invalid at column {}", error.column()))
    })?;
    if line.version != VERSION {
        return Err(invalid(&format!(
            "its last whole line has version {}, and this version of wxsub knows version {VERSION}",
            line.version
        )));
    }
    let mut record = TokenRecord::default();
    if let Some(token) = &line.token {
        let text = AccessToken::new(token.access_token.as_str())
            .map_err(|_| invalid("its access_token is invalid"))?;
        let (generation, requested_at) =
            (Generation::new(token.generation), UnixMillis::new(token.requested_at_ms));
        record.token =
            Some(StoredToken::new(text, generation, requested_at, Duration::from_millis(token.lifetime_ms)));
    }
    record.in_doubt_since = line.in_doubt_since_ms.map(UnixMillis::new);
    record.forced = ForceRefreshLog::new(line.forced_at_ms.into_iter().map(UnixMillis::new).collect());
    Ok(record)
}

/// A record as a line. The break before it ends one that was written in part.
fn encode(record: &TokenRecord) -> io::Result<Zeroizing<Vec<u8>>> {
    let token = record.token.as_ref().map(|stored| StateToken {
        access_token: stored.token.expose_secret().to_owned(),
        generation: stored.generation.get(),
        requested_at_ms: stored.requested_at.get(),
        lifetime_ms: u64::try_from(stored.lifetime.as_millis()).unwrap_or(u64::MAX),
    });
    let line = StateLine {
        version: VERSION,
        token,
        in_doubt_since_ms: record.in_doubt_since.map(UnixMillis::get),
        forced_at_ms: record.forced.used().iter().map(|used| used.get()).collect(),
    };
    let mut text = Zeroizing::new(Vec::with_capacity(1024));
    text.push(b'\n');
    serde_json::to_writer(&mut *text, &line)?;
    Ok(text)
}

/// Saves the latest tokens of a shared store in files, for a start while that store is unavailable.
#[derive(Debug)]
pub(crate) struct FileFallback {
    files: Arc<FileStore>,
    /// The files that are being written.
    saves: Mutex<JoinSet<()>>,
}

impl FileFallback {
    pub(crate) fn new(files: FileStore) -> Self {
        Self { files: Arc::new(files), saves: Mutex::default() }
    }
}

#[async_trait]
impl TokenFallback for FileFallback {
    fn save(&self, app: &AppId, token: StoredToken) {
        let (files, app) = (Arc::clone(&self.files), app.clone());
        let mut saves = locked(&self.saves);
        while saves.try_join_next().is_some() {}
        saves.spawn(async move { files.back_up(&app, &token).await });
    }

    async fn finish(&self) {
        let saves = std::mem::take(&mut *locked(&self.saves));
        saves.join_all().await;
    }

    async fn load(&self, app: &AppId) -> Option<StoredToken> {
        self.files.load(app).await.ok()?.token
    }
}

#[cfg(test)]
mod tests;
