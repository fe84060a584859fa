//! The embedded store: one file per app, written atomically and readable by this user alone. What is read is kept in
//! memory, so nobody ever waits for the disk to learn what this server knows itself.

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
use tokio::sync::Mutex as Turn;
use wxsub_core::clock::{Clock, UnixMillis, timeout_at};
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::token::Generation;
use wxsub_proto::AppId;

use crate::audit::owner_only;

/// Nobody waits longer for the disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps records in files of one folder, which belongs to one server at a time.
pub struct FileStore {
    folder: PathBuf,
    known: MemoryStore,
    clock: Arc<dyn Clock>,
    /// One writer per app at a time, so that the last to change a record is the last to write it.
    write_locks: Mutex<HashMap<AppId, Arc<Turn<()>>>>,
    broken: HashSet<AppId>,
    /// Held as long as this store lives.
    _lock: File,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Two servers would end each other's tokens.
    #[error("another server uses it; stop that one, or give each a folder of its own")]
    InUse,
    /// It cannot be read or written.
    #[error("it cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl FileStore {
    /// Opens the folder, and makes it if there is none; takes it for this process alone. A file that cannot be read is
    /// renamed to `*.broken`, and its app starts without a token.
    ///
    /// # Errors
    /// [`StateError`].
    ///
    /// # Cancel safety
    /// Can be tried again.
    pub async fn open(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let folder = folder.into();
        create_private_dir(&folder)?;
        let lock = owner_only(OpenOptions::new().create(true).truncate(false).write(true))
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StateError::InUse,
            TryLockError::Error(error) => StateError::Io(error),
        })?;
        let known = MemoryStore::with_clock(Arc::clone(&clock));
        let mut broken = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(app) = file::app(&path) else { continue };
            match file::read(&path) {
                Ok(record) => remember(&known, &app, record).await,
                Err(error) => {
                    tracing::error!(appid = %app, %error, "a state file cannot be read and is set aside as *.broken");
                    fs::rename(&path, path.with_extension("broken"))?;
                    broken.insert(app);
                }
            }
        }
        Ok(Self { folder, known, clock, write_locks: Mutex::default(), broken, _lock: lock })
    }

    /// The apps whose files could not be read.
    #[must_use]
    pub fn corrupt_apps(&self) -> &HashSet<AppId> {
        &self.broken
    }

    /// Keeps what another store holds, for the next start, unless it is older.
    pub(crate) async fn back_up(&self, app: &AppId, token: &StoredToken) {
        let Ok(record) = self.known.load(app).await else { return };
        if record.generation() < token.generation {
            // What went wrong is in the log; the other store has the token.
            let _ = self.compare_and_set(app, record.generation(), token.clone()).await;
        }
    }

    /// Changes a record and writes it.
    async fn change<T>(
        &self,
        app: &AppId,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let turn = {
            let mut turns = self.write_locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(app.clone()).or_default())
        };
        let work = async {
            let turn = turn.lock_owned().await;
            let changed = change.await?;
            let record = self.known.load(app).await?;
            let path = file::path(&self.folder, app);
            // It goes on when nobody waits any more, and keeps its turn until it is done.
            let written = tokio::task::spawn_blocking(move || {
                let written = file::write(&path, &record);
                drop(turn);
                written
            });
            match written.await {
                Ok(Ok(())) => Ok(changed),
                Ok(Err(error)) => Err(StoreError::new(format!("the state file cannot be written: {error}"))),
                Err(_) => Err(StoreError::new("the state file was not written")),
            }
        };
        let deadline = self.clock.now().mono.after(DISK_TIMEOUT);
        let done = timeout_at(&*self.clock, deadline, work).await;
        let done = done.unwrap_or_else(|| Err(StoreError::new("the disk does not answer")));
        done.inspect_err(|error| tracing::warn!(appid = %app, %error, "the token is kept in memory only"))
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

/// As if it had been stored here. A store in memory cannot fail.
async fn remember(known: &MemoryStore, app: &AppId, record: TokenRecord) {
    if let Some(token) = record.token {
        let _ = known.compare_and_set(app, Generation::default(), token).await;
    }
    if let Some(since) = record.in_doubt_since {
        let _ = known.set_in_doubt(app, since).await;
    }
    for used in record.forced.used() {
        let _ = known.try_acquire_force_refresh(app, *used).await;
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
        self.known.load(app).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.change(app, self.known.compare_and_set(app, replaces, token)).await
    }

    /// Leases live in memory: the folder belongs to this process alone.
    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        self.known.acquire_lease(app, holder, length).await
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.known.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.change(app, self.known.set_in_doubt(app, since)).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.change(app, self.known.clear_in_doubt(app, since)).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.change(app, self.known.try_acquire_force_refresh(app, now)).await
    }
}

#[cfg(test)]
mod tests;
