//! Opening the file: what is refused, and how SQLite is set up.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use derive_setters::Setters;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};

use crate::error::{OpenError, OpenErrorKind};
use crate::schema::{self, VERSION};

/// How a ledger is opened.
#[derive(Debug, Clone, Setters)]
#[must_use]
pub struct SqliteOptions {
    /// On this clock: it says when messages are due and leases are over.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the whole file is read when it is opened, so that a damaged one is refused: about a second for each GB.
    /// Yes, unless set otherwise.
    pub(crate) quick_check: bool,
    /// How long to wait for another process that has the ledger. It is not waited for, unless set otherwise.
    pub(crate) lock_timeout: Duration,
}

impl SqliteOptions {
    /// On the real clock, and with a check for damage.
    pub fn new() -> Self {
        Self { clock: Arc::new(SystemClock::new()), quick_check: true, lock_timeout: Duration::ZERO }
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a statement waits for another process that holds SQLite's own lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The value of `user_version` that marks a backup.
pub(crate) const IS_BACKUP: i32 = 1;

/// The value of `user_version` that marks a ledger whose rows were moved to another one.
pub(crate) const IS_MOVED: i32 = 2;

/// With how many pages of 4 KiB the log is moved into the file.
const LOG_PAGES: i64 = 8192;

/// How much of the file the writer keeps in memory.
const CACHE_KIB: i64 = 8192;

/// How many prepared statements are kept.
const STATEMENTS: usize = 96;

/// The path of a ledger without links, so that it has one lock under all its names. Its folder must exist.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let missing = |error| OpenError::file(path, "its folder cannot be read", error);
    match path.canonicalize() {
        Ok(resolved) if resolved.is_dir() => return Err(OpenErrorKind::NotSqlite.at(&resolved)),
        Ok(resolved) => return Ok(resolved),
        Err(_) => {}
    }
    let name = path.file_name().ok_or_else(|| missing(ErrorKind::InvalidInput.into()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(folder.canonicalize().map_err(missing)?.join(name))
}

/// Opens the file for writing and makes it if there is none. The schema is not touched yet.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    create(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    let failed = |error| OpenError::database(path, &error);
    // SQLite opens a file for reading if it may not write.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenErrorKind::ReadOnly.at(path));
    }
    set_up_writer(&connection).map_err(failed)?;
    Ok(connection)
}

/// Opens the file for reading. The connection changes no row, but it may write: SQLite moves the log into the file and
/// removes it when the last connection is closed, unless that one is read-only.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    // To open it here would end the locks that SQLite holds in this process.
    std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => OpenErrorKind::Missing.at(path),
        _ => OpenError::file(path, "it cannot be read", error),
    })?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let read_only = connection.pragma_update(None, "query_only", true);
    read_only.map_err(|error| OpenError::database(path, &error))?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let set_up = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "trusted_schema", false)?;
        // Otherwise SQLite plans a statement again whenever a value changes that the condition of an index is about.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // Each commit is synced, on macOS down to the disk; and so is the log that the last connection moves into the file.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        Ok(connection)
    };
    set_up().map_err(|error| OpenError::database(path, &error))
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // A page that changes with many commits is moved into the file once.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
    // All pages of a commit, so that none is written twice.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The log is cut back to 64 MiB after a burst.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))
}

/// Makes a new file that only its owner can read: it holds openids. Follows no link.
pub(crate) fn create_new(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes an empty file if there is none.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |what| move |error| OpenError::file(path, what, error);
    match create_new(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed("it cannot be made")(error)),
    }
    // Its name must outlive a power cut, too.
    sync_folder(path).map_err(failed("its folder cannot be synced"))
}

/// Syncs the folder of a file.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Which version the schema has; 0 for an empty file.
pub(crate) fn version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let version = schema::version(connection).map_err(|error| OpenError::database(path, &error))?;
    version.map_err(|kind| kind.at(path))
}

/// Opens the file for reading, if its schema is the one that this program needs.
pub(crate) fn open_current_reader(path: &Path) -> Result<Connection, OpenError> {
    let reader = open_reader(path)?;
    match version(&reader, path)? {
        VERSION => Ok(reader),
        found => Err(OpenErrorKind::OlderVersion { found, known: VERSION }.at(path)),
    }
}

/// Whether a file that no connection of this process has open is a backup that was not restored. Reads the header itself: to
/// open the file with SQLite would apply a log that does not belong to it.
///
/// <https://www.sqlite.org/fileformat.html#the_database_header>
pub(crate) fn is_marked(path: &Path) -> Result<bool, OpenError> {
    use std::io::Read;
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut header));
    read.map_err(|error| match error.kind() {
        ErrorKind::NotFound => OpenErrorKind::Missing.at(path),
        _ => OpenError::file(path, "it cannot be read", error),
    })?;
    Ok(header.ends_with(&IS_BACKUP.to_be_bytes()) && header.len() == 64)
}

/// Reads the mark of the file: 0, [`IS_BACKUP`] or [`IS_MOVED`].
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))
}

/// Reads the whole file, and fails if it is damaged.
pub(crate) fn quick_check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(|error| OpenError::database(path, &error))?.as_str() {
        "ok" => Ok(()),
        what => Err(OpenErrorKind::Damaged(what.to_owned()).at(path)),
    }
}

/// Brings the schema up to date from this version, and turns the write-ahead log on.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    from: u32,
    now: UnixMillis,
) -> Result<(), OpenError> {
    let set_up = |connection: &mut Connection| {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        if from < VERSION {
            schema::migrate(connection, from, now)?;
        }
        Ok(())
    };
    set_up(connection).map_err(|error| OpenError::database(path, &error))
}
