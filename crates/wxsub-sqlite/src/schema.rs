//! The schema: numbered steps, each applied once.

use rusqlite::{Connection, OptionalExtension, params};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::ledger::{SchemaStep, millis};

use crate::error::OpenErrorKind;

const STEPS: [SchemaStep; 1] =
    [SchemaStep { version: 1, name: "ledger", sql: include_str!("migrations/0001_ledger.sql") }];

/// The version that the schema has with all steps.
pub(crate) const VERSION: u32 = {
    let [.., last] = STEPS;
    last.version
};

/// Marks the file as a ledger: `wxsb`.
const APPLICATION_ID: i32 = 0x7778_7362;

/// Which version the schema of a file has, 0 for an empty file; or why it cannot be used.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<Result<u32, OpenErrorKind>> {
    let application_id: i32 =
        connection.query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 && application_id == 0 {
        return Ok(Ok(0));
    }
    if application_id != APPLICATION_ID {
        return Ok(Err(OpenErrorKind::NotALedger));
    }
    for step in &STEPS {
        let checksum = connection
            .query_row("SELECT checksum FROM wxsub_schema WHERE version = ?1", [step.version], |row| {
                row.get::<_, String>(0)
            })
            .optional()?;
        if checksum.is_some_and(|checksum| checksum != step.checksum()) {
            return Ok(Err(OpenErrorKind::ChangedSchema(step.version)));
        }
    }
    let newest = "SELECT coalesce(max(version), 0) FROM wxsub_schema";
    Ok(match connection.query_row(newest, [], |row| row.get(0))? {
        found if found > VERSION => Err(OpenErrorKind::NewerVersion { found, known: VERSION }),
        found => Ok(found),
    })
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
        transaction.execute(
            "INSERT INTO wxsub_schema (version, name, checksum, applied_ms) VALUES (?1, ?2, ?3, ?4)",
            params![step.version, step.name, step.checksum(), millis(now)],
        )?;
    }
    transaction.commit()
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
