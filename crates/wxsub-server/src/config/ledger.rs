//! The `[ledger]` table: the database that holds grants and messages.

use std::path::PathBuf;

use wxsub_proto::LocalizedText;

use super::document::TableReader;

/// The ledger: a SQLite file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerConfig {
    pub(crate) path: PathBuf,
}

/// Reads `[ledger]`. `None` if it is absent, or has a problem.
pub(super) fn read(top: &mut TableReader<'_>) -> Option<LedgerConfig> {
    if !top.has("ledger") {
        return None;
    }
    let mut section = top.section("ledger");
    section.check_present("url");
    let path = section.text("url").and_then(|url| match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") => Some(PathBuf::from(path)),
        Some(("postgres" | "postgresql", _)) => {
            section.problem(
                "url",
                LocalizedText::new(
                    "names a PostgreSQL database, which this version cannot use yet; write sqlite:/PATH",
                    "指定的是 PostgreSQL 数据库，当前版本还不支持；请写成 sqlite:/路径",
                ),
            );
            None
        }
        _ => {
            section.problem(
                "url",
                LocalizedText::new(
                    "must be sqlite: and the path of a file, like sqlite:/var/lib/wxsub/ledger.db",
                    "必须是 sqlite: 加文件路径，例如 sqlite:/var/lib/wxsub/ledger.db",
                ),
            );
            None
        }
    });
    section.finish();
    path.map(|path| LedgerConfig { path })
}
