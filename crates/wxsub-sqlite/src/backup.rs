//! Copies of a ledger: check, back up, restore.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wxsub_core::clock::Clock;
use wxsub_core::rfc3339;
use wxsub_outbox::ledger::{Change, FromApplied, RestoreReport, apply};

use crate::connection::{self, IS_BACKUP, SqliteOptions};
use crate::error::{OpenError, OpenErrorKind, failed};
use crate::lock::{WriterLock, path_beside};
use crate::writer::{OpenFile, Purpose};

/// How many problems of one kind a check names.
const MAX_PROBLEMS: u32 = 100;

/// Rows that contradict each other. Each query gives one line for each problem.
const CONTRADICTIONS: [&str; 4] = [
    "SELECT format('app %s: the count of its %s messages is %d, a recount gives %d',
                   appid, state, coalesce(sum(counted), 0), coalesce(sum(found), 0))
     FROM (SELECT appid, state, messages AS counted, NULL AS found FROM wxsub_count
           UNION ALL SELECT appid, state, NULL, count(*) FROM wxsub_message GROUP BY appid, state)
     GROUP BY appid, state HAVING coalesce(sum(counted), 0) <> coalesce(sum(found), 0)",
    "SELECT format('app %s: the count of its undecided messages is %d, a recount gives %d', appid, undecided, found)
     FROM (SELECT appid, undecided,
                  (SELECT count(*) FROM wxsub_message AS m
                   WHERE m.appid = a.appid AND m.state = 'maybe_sent' AND m.decision IS NULL) AS found
           FROM wxsub_app AS a)
     WHERE undecided <> found",
    "SELECT format('message %s: its version is %d, and its history ends with %d', hex(id), version, last)
     FROM (SELECT id, version, (SELECT max(version) FROM wxsub_event WHERE message_id = id) AS last FROM wxsub_message)
     WHERE version IS NOT last",
    "SELECT format('message %s: its grant %s is missing', hex(id), hex(grant_id)) FROM wxsub_message AS m
     WHERE grant_id IS NOT NULL AND state IN ('queued', 'attempting')
       AND NOT EXISTS (SELECT 1 FROM wxsub_grant AS g WHERE g.id = m.grant_id)",
];

pub(crate) fn check(path: &Path) -> Result<Vec<String>, OpenError> {
    let path = connection::resolve(path)?;
    let reader = connection::open_current_reader(&path)?;
    problems(&reader).map_err(|error| OpenError::database(&path, &error))
}

fn problems(reader: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems: Vec<String> = reader
        .prepare(&format!("PRAGMA integrity_check({MAX_PROBLEMS})"))?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    problems.retain(|problem| problem != "ok");
    let mut orphans = reader.prepare("SELECT DISTINCT \"table\", parent FROM pragma_foreign_key_check")?;
    let orphans = orphans.query_map([], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(format!("{table}: a row refers to one of {parent} that is missing"))
    })?;
    problems.extend(orphans.collect::<rusqlite::Result<Vec<_>>>()?);
    for query in CONTRADICTIONS {
        let mut statement = reader.prepare(&format!("{query} LIMIT {MAX_PROBLEMS}"))?;
        let found = statement.query_map([], |row| row.get(0))?;
        problems.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(problems)
}

pub(crate) fn back_up(from: &Path, to: &Path) -> Result<(), OpenError> {
    let from = connection::resolve(from)?;
    let reader = connection::open_current_reader(&from)?;
    let failed = |error| OpenError::file(to, "the backup cannot be written", error);
    // Holds the name until the copy is whole.
    let _held = hold_name(to).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => OpenErrorKind::TargetExists.at(to),
        _ => failed(error),
    })?;
    let partial = path_beside(to, ".partial");
    let written = copy(&reader, &partial).and_then(|()| {
        let to = connection::resolve(to)?;
        fs::rename(&partial, &to).and_then(|()| connection::sync_folder(&to)).map_err(failed)
    });
    if written.is_err() {
        let _ = fs::remove_file(&partial);
        let _ = fs::remove_file(to);
    }
    written
}

/// Makes an empty file and locks it. Takes over the file of a backup that was killed: it is empty, and not locked.
fn hold_name(to: &Path) -> std::io::Result<File> {
    let is_empty = || fs::symlink_metadata(to).is_ok_and(|found| found.is_file() && found.len() == 0);
    let file = match connection::create_new(to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_empty() => {
            File::options().write(true).open(to)?
        }
        created => created?,
    };
    // Where files cannot be locked, the name is held by the file alone.
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(ErrorKind::AlreadyExists.into()),
        _ if is_empty() => Ok(file),
        _ => Err(ErrorKind::AlreadyExists.into()),
    }
}

/// Copies what is committed, and marks the copy. The commit of the mark syncs the whole file.
fn copy(reader: &Connection, partial: &Path) -> Result<(), OpenError> {
    let unusable = |error: rusqlite::Error| OpenError::database(partial, &error);
    let unwritable = |error| OpenError::file(partial, "it cannot be made", error);
    let _ = fs::remove_file(partial);
    let name = partial
        .to_str()
        .ok_or_else(|| OpenError::file(partial, "its name is not UTF-8", ErrorKind::InvalidInput.into()))?;
    connection::create_new(partial).map_err(unwritable)?;
    reader.pragma_update(None, "query_only", false).map_err(unusable)?;
    reader.execute("VACUUM INTO ?1", [name]).map_err(unusable)?;
    let copy = connection::open_writer(partial)?;
    copy.pragma_update(None, "user_version", IS_BACKUP).map_err(unusable)
}

/// How many messages and grants a restore would change.
pub(crate) fn unfinished(path: &Path) -> Result<RestoreReport, OpenError> {
    let path = connection::resolve(path)?;
    if connection::is_marked(&path)? {
        return Err(OpenErrorKind::Backup(path.clone()).at(&path));
    }
    let reader = connection::open_current_reader(&path)?;
    let count = |what: &str| reader.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0));
    let counted = || {
        Ok(RestoreReport {
            messages: count("wxsub_message WHERE state IN ('queued', 'attempting')")?,
            grants: count("wxsub_grant WHERE state IN ('open', 'reserved', 'attempting')")?,
            inbox_rows: 0,
            last_event_at: None,
        })
    };
    counted().map_err(|error| OpenError::database(&path, &error))
}

/// Restores a copy of a backup, and puts it in the place of the ledger. Gives what it restored, and where the files are that
/// it replaced.
pub(crate) fn replace(
    backup: &Path,
    ledger: &Path,
    lock: WriterLock,
    options: &SqliteOptions,
) -> Result<(RestoreReport, Option<PathBuf>), OpenError> {
    if !connection::is_marked(backup)? {
        return Err(OpenErrorKind::NotABackup.at(backup));
    }
    let partial = path_beside(ledger, ".partial");
    remove_all(&partial);
    let prepared = copy_file(backup, &partial).and_then(|()| {
        let mut file = OpenFile::open(&partial, lock, options, Purpose::Restore)?;
        let report = restore(&mut file, &partial, &*options.clock)?;
        Ok((report, file.close()?))
    });
    let replaced = prepared.and_then(|(report, _lock)| {
        let replaced = move_aside(ledger, &*options.clock)?;
        // The error names the file in which the ledger is now.
        let kept = replaced.as_deref().unwrap_or(ledger);
        fs::rename(&partial, ledger).and_then(|()| connection::sync_folder(ledger)).map_err(|error| {
            OpenError::file(kept, "the backup cannot take the place of this ledger", error)
        })?;
        Ok((report, replaced))
    });
    if replaced.is_err() {
        remove_all(&partial);
    }
    replaced
}

/// A file of SQLite and what may be beside it. The file is first: without its log it would hold old states.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

fn remove_all(path: &Path) {
    for suffix in SUFFIXES {
        let _ = fs::remove_file(path_beside(path, suffix));
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), OpenError> {
    let copied = File::open(from).and_then(|mut from| {
        let mut to = connection::create_new(to)?;
        std::io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    copied.map_err(|error| OpenError::file(to, "the backup cannot be copied to it", error))
}

/// Gives the files of a ledger a name with the time, and returns it; `None` if there is none of them. An error has that name.
fn move_aside(ledger: &Path, clock: &dyn Clock) -> Result<Option<PathBuf>, OpenError> {
    let time = rfc3339::format(clock.now().wall).replace(['-', ':'], "");
    let aside = path_beside(ledger, &format!(".replaced-{time}"));
    let mut moved = None;
    for suffix in SUFFIXES {
        let (from, to) = (path_beside(ledger, suffix), path_beside(&aside, suffix));
        let failed = |error| OpenError::file(&to, "the ledger cannot be kept under this name", error);
        if to.exists() {
            return Err(failed(ErrorKind::AlreadyExists.into()));
        }
        match fs::rename(from, &to) {
            Ok(()) => moved = Some(aside.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(moved)
}

/// Restores and takes the mark away, in one transaction.
pub(crate) fn restore(
    file: &mut OpenFile,
    path: &Path,
    clock: &dyn Clock,
) -> Result<RestoreReport, OpenError> {
    let restored = file.transact(|tables| {
        let report = RestoreReport::from_applied(apply(tables, Change::Restore, clock.now().wall)?)?;
        tables.connection().pragma_update(None, "user_version", 0).map_err(failed)?;
        Ok(report)
    });
    restored.map_err(|error| OpenError::ledger(path, &error))
}
