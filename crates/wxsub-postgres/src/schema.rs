//! The schema: numbered steps, each applied once.

use tokio_postgres::Error;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::ledger::{SchemaStep, millis};

use crate::error::ServerProblem;
use crate::session::Session;
use crate::sql;

const STEPS: [SchemaStep; 1] =
    [SchemaStep { version: 1, name: "ledger", sql: include_str!("migrations/0001_ledger.sql") }];

/// The version that the schema has with all steps.
const VERSION: u32 = {
    let [.., last] = STEPS;
    last.version
};

/// Held while the schema is made, so that two processes that start together do not both make it: `wxsb`. The transaction begins
/// when the lock is held: its first statement then sees the tables that another process has made.
const LOCK: &str = "SELECT pg_advisory_lock(2004382562)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(2004382562)";

const SCHEMA_TABLE: &str = "CREATE TABLE wxsub_schema (
    version    integer NOT NULL PRIMARY KEY,
    name       text    NOT NULL,
    checksum   text    NOT NULL,
    applied_ms bigint  NOT NULL
)";

/// The tables, and the rights that a worker needs on each of them.
const RIGHTS: &[(&str, &[&str])] = &[
    ("wxsub_schema", &["SELECT"]),
    ("wxsub_app", &["SELECT", "INSERT", "UPDATE"]),
    ("wxsub_count", &["SELECT", "INSERT", "UPDATE"]),
    ("wxsub_worker", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("wxsub_grant", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("wxsub_nonce", &["SELECT", "INSERT"]),
    ("wxsub_message", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("wxsub_event", &["SELECT", "INSERT", "DELETE"]),
    ("wxsub_audit", &["SELECT", "INSERT"]),
    ("wxsub_key", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("wxsub_inbox", &["SELECT", "UPDATE", "DELETE"]),
    ("wxsub_webhook_endpoint", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("wxsub_webhook_delivery", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];

/// Brings the schema up to date, or fails if it is not. `now` is the time of a clock that replaces that of the database.
pub(crate) async fn prepare(
    session: &Session,
    migrate: bool,
    now: Option<UnixMillis>,
) -> Result<(), ServerProblem> {
    let mut found = version(session).await?;
    if found < VERSION && migrate {
        session.batch(LOCK).await?;
        session.batch("BEGIN").await?;
        let migrated = async {
            // Another process may have done it meanwhile.
            let from = version(session).await?;
            Ok::<_, ServerProblem>(apply_steps(session, from, now).await?)
        };
        let migrated = migrated.await;
        session.batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        session.batch(UNLOCK).await?;
        migrated?;
        found = VERSION;
    }
    match found {
        VERSION => check_rights(session).await,
        found if found > VERSION => Err(ServerProblem::NewerVersion { found, known: VERSION }),
        found => Err(ServerProblem::OlderVersion { found, known: VERSION }),
    }
}

/// The version of the schema; 0 if there is none.
async fn version(session: &Session) -> Result<u32, ServerProblem> {
    let exists = session.query_once("SELECT to_regclass('wxsub_schema') IS NOT NULL", &[]).await?;
    if !exists.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let mut newest = 0;
    for row in session.query_once("SELECT version, checksum FROM wxsub_schema", &[]).await? {
        let version = u32::try_from(row.get::<_, i32>(0)).unwrap_or(0);
        let known = STEPS.iter().find(|step| step.version == version);
        if known.is_some_and(|step| step.checksum() != row.get::<_, &str>(1)) {
            return Err(ServerProblem::ChangedSchema(version));
        }
        newest = newest.max(version);
    }
    Ok(newest)
}

async fn apply_steps(session: &Session, from: u32, now: Option<UnixMillis>) -> Result<(), Error> {
    if from == 0 {
        session.batch(SCHEMA_TABLE).await?;
    }
    let now = match now {
        Some(now) => millis(now),
        None => session.query_once(sql::NOW, &[]).await?.first().map_or(0, |row| row.get(0)),
    };
    for step in STEPS.iter().filter(|step| step.version > from) {
        session.batch(step.sql).await?;
        let version = i32::try_from(step.version).unwrap_or(i32::MAX);
        let insert = "INSERT INTO wxsub_schema (version, name, checksum, applied_ms) VALUES ($1, $2, $3, $4)";
        session.query_once(insert, &[&version, &step.name, &step.checksum(), &now]).await?;
    }
    Ok(())
}

/// Names every right that the role lacks.
async fn check_rights(session: &Session) -> Result<(), ServerProblem> {
    let rights = RIGHTS.iter().flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)));
    let (tables, rights): (Vec<_>, Vec<_>) = rights.unzip();
    let missing = "SELECT string_agg(r.kind || ' on ' || r.name, ', ') FROM unnest($1::text[], $2::text[]) AS r (name, kind)
        WHERE NOT has_table_privilege(r.name, r.kind)";
    let missing = session.query_once(missing, &[&tables, &rights]).await?;
    match missing.first().and_then(|row| row.get::<_, Option<String>>(0)) {
        None => Ok(()),
        Some(what) => Err(ServerProblem::MissingRight(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_documented_with_the_rights_that_a_worker_needs() {
        let document = include_str!("../../../docs/postgres.md");
        for (table, rights) in RIGHTS {
            let granted = document.lines().find(|line| line.starts_with("GRANT") && line.contains(table));
            let granted = granted.unwrap_or_else(|| panic!("{table} is not granted"));
            let expected = format!("GRANT {} ON ", rights.join(", "));
            assert!(granted.starts_with(&expected), "{table}: {granted}");
        }
        for step in STEPS {
            for table in step.sql.split("CREATE TABLE ").skip(1) {
                let table = table.split_whitespace().next().unwrap();
                assert!(RIGHTS.iter().any(|(known, _)| *known == table), "{table}");
            }
        }
    }

    #[test]
    fn the_inbox_is_the_table_that_applications_make_elsewhere() {
        let lines = |sql: &str| sql.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        let [step] = STEPS;
        let (_, table) = step.sql.split_once("CREATE TABLE wxsub_inbox (").unwrap();
        let (table, _) = table.split_once("\n)").unwrap();
        let (_, expected) = wxsub_outbox::inbox::POSTGRES_TABLE.split_once('(').unwrap();
        assert_eq!(lines(table), lines(expected.strip_suffix("\n)").unwrap()));
    }

    #[test]
    fn every_column_is_documented() {
        let documents = [
            include_str!("../../../docs/outbox.md"),
            include_str!("../../../docs/postgres.md"),
            include_str!("../../../docs/inbox.md"),
        ]
        .concat();
        let tables = STEPS.iter().flat_map(|step| step.sql.split("CREATE TABLE ").skip(1));
        let mut columns = 0;
        for table in tables.map(|table| table.split("\n)").next().unwrap()) {
            let (name, lines) = table.split_once(" (").unwrap();
            let named = lines
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with(|first: char| first.is_lowercase()));
            for column in named.filter_map(|line| line.split_whitespace().next()) {
                assert!(documents.contains(&format!("`{column}`")), "{name}.{column} is not documented");
                columns += 1;
            }
        }
        assert!(columns > 70, "{columns}");
    }
}
