//! Copies of a ledger: check, back up, restore.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use wxsub_core::clock::Clock;
use wxsub_outbox::LedgerError;
use wxsub_outbox::ledger::{Applied, Change, RestoreReport, apply};

use crate::connection::{self, IS_BACKUP};
use crate::error::{OpenError, failed};
use crate::lock::path_beside;
use crate::tables::OpenTables;
use crate::writer::OpenFile;

/// How many problems of one kind a check names.
const MAX_PROBLEMS: u32 = 100;

/// Rows that contradict each other. Each query gives one line for each problem.
const CONTRADICTIONS: [&str; 3] = [
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
    let (from, to) = (connection::resolve(from)?, connection::resolve(to)?);
    if to.exists() {
        return Err(OpenError::TargetExists { path: to });
    }
    let reader = connection::open_current_reader(&from)?;
    let partial = path_beside(&to, ".partial");
    let written = copy(&reader, &partial).and_then(|()| {
        let rename = fs::rename(&partial, &to).and_then(|()| connection::sync_folder(&to));
        rename.map_err(|error| OpenError::file(&to, "the backup cannot be written", error))
    });
    if written.is_err() {
        // Only there is a copy when it is whole.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Copies what is committed, and marks the copy. The commit of the mark syncs the whole file.
fn copy(reader: &Connection, partial: &Path) -> Result<(), OpenError> {
    let unusable = |error: rusqlite::Error| OpenError::database(partial, &error);
    let _ = fs::remove_file(partial);
    let name = partial.to_str().ok_or_else(|| {
        OpenError::file(partial, "its name is not UTF-8", std::io::ErrorKind::InvalidInput.into())
    })?;
    reader.execute("VACUUM INTO ?1", [name]).map_err(unusable)?;
    let copy = connection::open_writer(partial)?;
    copy.pragma_update(None, "user_version", IS_BACKUP).map_err(unusable)
}

/// Restores and takes the mark away, in one transaction.
pub(crate) fn restore(
    file: &mut OpenFile,
    path: &Path,
    clock: &dyn Clock,
) -> Result<RestoreReport, OpenError> {
    let restored = file.transact(|connection| {
        let mut tables = OpenTables::new(connection);
        let applied = apply(&mut tables, Change::Restore, clock.now().wall)?;
        tables.finish()?;
        connection.pragma_update(None, "user_version", 0).map_err(failed)?;
        match applied {
            Applied::Restored(report) => Ok(report),
            other => Err(LedgerError::Inconsistent(format!("unexpected result {other:?}"))),
        }
    });
    restored.map_err(|error| OpenError::ledger(path, &error))
}
