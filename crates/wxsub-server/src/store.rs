//! Token stores of the server: files, and files as the fallback of a shared store.

mod fallback;
mod file;

pub(crate) use self::fallback::FallbackStore;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;
use wxsub_core::clock::{Clock, UnixMillis, timeout_at};
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::token::Generation;
use wxsub_proto::AppId;

use crate::audit::owner_only;

/// Maximum time that a change waits for the disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// A token store in a folder: one file per app, written atomically, readable by this user only.
///
/// One server uses the folder at a time. Records are kept in memory too, so reads never wait for the disk.
pub struct FileStore {
    folder: PathBuf,
    memory: MemoryStore,
    clock: Arc<dyn Clock>,
    /// Serializes the writes of each app, so that the file gets the last change last.
    write_locks: Mutex<HashMap<AppId, Arc<AsyncMutex<()>>>>,
    corrupt_apps: HashSet<AppId>,
    /// The lock file. It stays locked as long as the store exists.
    _lock: File,
}

/// The folder of state files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another server uses the folder. Two servers would invalidate each other's tokens.
    #[error("another server uses it; stop that server, or give each its own folder")]
    InUse,
    /// The folder or a file in it cannot be read or written.
    #[error("cannot use the folder: {0}")]
    Io(#[from] io::Error),
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
    pub async fn open(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let folder = folder.into();
        create_private_dir(&folder)?;
        let lock = owner_only(OpenOptions::new().create(true).truncate(false).write(true))
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StateError::InUse,
            TryLockError::Error(error) => StateError::Io(error),
        })?;
        let memory = MemoryStore::with_clock(Arc::clone(&clock));
        let mut corrupt_apps = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(app) = file::app_of(&path) else { continue };
            match file::read(&path) {
                Ok(record) => restore(&memory, &app, record).await,
                Err(error) => {
                    tracing::error!(appid = %app, %error, "reading a state file failed; it was renamed to *.broken");
                    fs::rename(&path, path.with_extension("broken"))?;
                    corrupt_apps.insert(app);
                }
            }
        }
        Ok(Self { folder, memory, clock, write_locks: Mutex::default(), corrupt_apps, _lock: lock })
    }

    /// The apps whose files could not be read when the store was opened.
    #[must_use]
    pub fn corrupt_apps(&self) -> &HashSet<AppId> {
        &self.corrupt_apps
    }

    /// Saves a token of another store for the next start, unless the saved one is newer.
    pub(crate) async fn back_up(&self, app: &AppId, token: &StoredToken) {
        let Ok(record) = self.memory.load(app).await else { return };
        if record.generation() < token.generation {
            // `change` logs an error, and the other store has the token.
            let _ = self.compare_and_set(app, record.generation(), token.clone()).await;
        }
    }

    /// Changes a record in memory and writes its file.
    async fn change<T>(
        &self,
        app: &AppId,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let write_lock = {
            let mut write_locks = self.write_locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(write_locks.entry(app.clone()).or_default())
        };
        let change = async {
            let guard = write_lock.lock_owned().await;
            let changed = change.await?;
            let record = self.memory.load(app).await?;
            let path = file::path(&self.folder, app);
            // The write continues after a timeout or cancellation, and holds the lock until it is done.
            let written = tokio::task::spawn_blocking(move || {
                let written = file::write(&path, &record);
                drop(guard);
                written
            });
            match written.await {
                Ok(Ok(())) => Ok(changed),
                Ok(Err(error)) => {
                    Err(StoreError::new(format!("cannot write the state file: {error}; check the disk")))
                }
                Err(_) => Err(StoreError::new("cannot write the state file: the write was aborted")),
            }
        };
        let deadline = self.clock.now().mono + DISK_TIMEOUT;
        let result = timeout_at(&*self.clock, deadline, change).await;
        let result = result.unwrap_or_else(|| {
            Err(StoreError::new(format!(
                "cannot write the state file: no result within {} s; check the disk",
                DISK_TIMEOUT.as_secs()
            )))
        });
        result.inspect_err(|error| tracing::warn!(appid = %app, %error, "the record was kept in memory only"))
    }
}

fn create_private_dir(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700);
        builder.create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }
    #[cfg(not(unix))]
    builder.create(folder)
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

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("folder", &self.folder).finish_non_exhaustive()
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
    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
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

#[cfg(test)]
mod tests;
