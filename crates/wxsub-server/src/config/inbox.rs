//! The `[[inboxes]]`: tables in databases of applications, whose rows the server copies to the outbox.

use wxsub_mysql::MysqlOptions;
use wxsub_postgres::PostgresOptions;
use wxsub_proto::LocalizedText;

use super::client::AppAccess;
use super::database::DatabaseConfig;
use super::document::{Place, TableReader};

/// An inbox, and the apps whose messages may be in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InboxConfig {
    pub(crate) database: InboxDatabase,
    pub(crate) apps: AppAccess,
}

/// The database of an application.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InboxDatabase {
    Postgres(DatabaseConfig<PostgresOptions>),
    Mysql(DatabaseConfig<MysqlOptions>),
}

/// Reads all `[[inboxes]]`.
pub(super) fn read_all(top: &mut TableReader<'_>, has_ledger: bool) -> Vec<(Place, InboxConfig)> {
    if !has_ledger {
        top.check_needs("inboxes", "[ledger]", LocalizedText::new("the inboxes", " inboxes"));
    }
    top.placed_sections("inboxes", read)
}

fn read(mut section: TableReader<'_>) -> Option<InboxConfig> {
    for key in ["url", "apps"] {
        section.check_present(key);
    }
    let database = section.text("url").and_then(|url| match url.split_once(':') {
        Some(("mysql", _)) => DatabaseConfig::mysql(&mut section, url).map(InboxDatabase::Mysql),
        Some(("postgres" | "postgresql", _)) => {
            DatabaseConfig::postgres(&mut section, url).map(InboxDatabase::Postgres)
        }
        _ => section.refused(
            "url",
            "must be mysql://USER@HOST:PORT/DATABASE or postgres://USER@HOST/DATABASE",
            "必须是 mysql://USER@HOST:PORT/DATABASE 或 postgres://USER@HOST/DATABASE",
        ),
    });
    let effect = LocalizedText::new("each row gets an error", "每一行都会得到错误");
    let apps = AppAccess::read(&mut section, effect);
    section.finish();
    Some(InboxConfig { database: database?, apps })
}
