//! The `[ledger]` table: the database that holds grants and messages.

use std::path::{PathBuf, absolute};

use wxsub_postgres::PostgresOptions;

use super::database::DatabaseConfig;
use super::document::TableReader;

/// The ledger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LedgerConfig {
    /// A SQLite file. Errors name its absolute path.
    File(PathBuf),
    /// A PostgreSQL database.
    Database(DatabaseConfig<PostgresOptions>),
}

/// Reads `[ledger]`. `None` if it is absent, or has a problem.
pub(super) fn read(top: &mut TableReader<'_>) -> Option<LedgerConfig> {
    let mut section = top.optional_section("ledger")?;
    section.check_present("url");
    let ledger = section.text("url").and_then(|url| match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") => {
            Some(LedgerConfig::File(absolute(path).unwrap_or_else(|_| PathBuf::from(path))))
        }
        Some(("postgres" | "postgresql", _)) => {
            DatabaseConfig::postgres(&mut section, url).map(LedgerConfig::Database)
        }
        _ => section.refused(
                "url",
                "must be sqlite: and the path of a file, like sqlite:/var/lib/wxsub/ledger.db, or \
                 postgres://USER@HOST/DATABASE",
                "必须是 sqlite: 加文件路径，例如 sqlite:/var/lib/wxsub/ledger.db，或 postgres://USER@HOST/DATABASE",
            ),
    });
    section.finish();
    ledger
}
