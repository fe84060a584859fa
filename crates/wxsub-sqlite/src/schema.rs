//! The schema: numbered steps, each applied once.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use wxsub_core::clock::UnixMillis;

/// A step of the schema. A step that was released never changes.
pub(crate) struct Step {
    pub(crate) version: u32,
    name: &'static str,
    sql: &'static str,
}

pub(crate) const STEPS: [Step; 1] =
    [Step { version: 1, name: "ledger", sql: include_str!("migrations/0001_ledger.sql") }];

/// The version that the schema has with all steps.
pub(crate) const VERSION: u32 = {
    let [.., last] = STEPS;
    last.version
};

/// Marks the file as a ledger: `wxsb`.
pub(crate) const APPLICATION_ID: i32 = 0x7778_7362;

/// What the schema of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// An empty file.
    Nothing,
    /// A ledger, at this version.
    Version(u32),
    /// A ledger in which this step is not the one that this program has.
    Changed(u32),
    /// Another database.
    Foreign,
}

/// What the file holds.
pub(crate) fn find(connection: &Connection) -> rusqlite::Result<Found> {
    let application_id: i32 =
        connection.query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 && application_id == 0 {
        return Ok(Found::Nothing);
    }
    if application_id != APPLICATION_ID {
        return Ok(Found::Foreign);
    }
    for step in &STEPS {
        let checksum = connection
            .query_row("SELECT checksum FROM wxsub_schema WHERE version = ?1", [step.version], |row| {
                row.get::<_, String>(0)
            })
            .optional()?;
        if checksum.is_some_and(|checksum| checksum != step.checksum()) {
            return Ok(Found::Changed(step.version));
        }
    }
    let version = connection
        .query_row("SELECT coalesce(max(version), 0) FROM wxsub_schema", [], |row| row.get(0))
        .map(Found::Version)?;
    Ok(version)
}

/// Applies the steps after this version, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, from: u32, now: UnixMillis) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    if from == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(
            "CREATE TABLE wxsub_schema (
                 version    INTEGER NOT NULL PRIMARY KEY,
                 name       TEXT    NOT NULL,
                 checksum   TEXT    NOT NULL,
                 applied_ms INTEGER NOT NULL
             ) STRICT",
        )?;
    }
    for step in STEPS.iter().filter(|step| step.version > from) {
        transaction.execute_batch(step.sql)?;
        let applied_ms = i64::try_from(now.get()).unwrap_or(i64::MAX);
        transaction.execute(
            "INSERT INTO wxsub_schema (version, name, checksum, applied_ms) VALUES (?1, ?2, ?3, ?4)",
            params![step.version, step.name, step.checksum(), applied_ms],
        )?;
    }
    transaction.commit()
}

impl Step {
    fn checksum(&self) -> String {
        Sha256::digest(self.sql).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_documented() {
        let document = include_str!("../../../docs/outbox.md");
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0, UnixMillis::new(1)).unwrap();
        let columns = "SELECT t.name, c.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c \
                       WHERE t.name LIKE 'wxsub_%'";
        let mut statement = connection.prepare(columns).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        for column in statement.query_map([], read).unwrap() {
            let (table, column) = column.unwrap();
            let chapter = document.split("\n### ").find(|chapter| chapter.contains(&format!("`{table}`")));
            let chapter = chapter.unwrap_or_else(|| panic!("{table} has no chapter"));
            assert!(chapter.contains(&format!("`{column}`")), "{table}.{column} is not documented");
        }
    }
}
