//! `wxsub ledger copy`: from a SQLite file to a PostgreSQL database.

use clap::Args;
use tokio::task::spawn_blocking;
use wxsub_outbox::LedgerError;
use wxsub_postgres::{ConnectError, PostgresImport, ServerProblem};
use wxsub_sqlite::{OpenError, SqliteLedger, SqliteMove};

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::language::localized;
use crate::ledger_file::{is_postgres_url, options, postgres_options};

/// Move a ledger from a SQLite file to a PostgreSQL database.
///
/// All rows are there afterwards, or none. Then the file is marked as moved, and no command opens it any more. Run this as the
/// owner of the tables, while no process uses either ledger. docs/postgres.md says more.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// The file: sqlite:PATH
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database, whose ledger has no rows: postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    to: String,
}

impl Copy {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let Some(path) = self.from.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            let text = localized!(
                "--from: must be sqlite: and the path of the file; a ledger in PostgreSQL is copied with pg_dump",
                "--from：必须是 sqlite: 加文件路径；PostgreSQL 中的消息库请用 pg_dump 复制"
            );
            return Err(CliError::usage(text));
        };
        let url = &self.to;
        if !is_postgres_url(url) {
            let text = localized!(
                "--to: must be postgres://USER@HOST/DATABASE; to copy to a file, use `wxsub ledger backup`",
                "--to：必须是 postgres://USER@HOST/DATABASE；复制到文件请用 `wxsub ledger backup`"
            );
            return Err(CliError::usage(text));
        }
        let target = postgres_options(url)?;
        let source = SqliteLedger::move_out(path, options()?).await?;
        let is_marked = source.is_marked()?;
        let target = match PostgresImport::begin(&target).await {
            Err(error @ ConnectError::Server { problem: ServerProblem::NotEmpty(..), .. }) if is_marked => {
                console::error(localized!(
                    "{path} is marked as moved: if `wxsub outbox list` shows its messages in this database, the move is complete",
                    "{path} 已标记为已迁移：如果 `wxsub outbox list` 能在该数据库中列出这些消息，说明迁移已经完成"
                ));
                return Err(error.into());
            }
            begun => begun?,
        };
        let (messages, source) = move_rows(source, target).await?;
        on_blocking_thread(move || source.close()).await?;
        console::note(localized!(
            "messages moved, with grants, keys, history, webhooks and audit: {messages}; {path} is marked as moved",
            "已迁移消息 {messages} 条，以及授权、幂等键、历史记录、webhook 和操作记录；{path} 已标记为已迁移"
        ));
        Ok(ExitStatus::Success)
    }
}

/// Writes all rows in one transaction. The file is marked before the commit, so that it is never used beside the new ledger.
async fn move_rows(source: SqliteMove, mut target: PostgresImport) -> Result<(usize, SqliteMove), CliError> {
    let mut source = source;
    loop {
        let (back, rows) = on_blocking_thread(move || {
            let rows = source.read()?;
            Ok((source, rows))
        })
        .await?;
        source = back;
        let Some(rows) = rows else { break };
        target.write(&rows).await?;
    }
    target.check().await?;
    let messages = target.messages();
    source = marked(source, true).await?;
    match target.commit().await {
        Ok(()) => Ok((messages, source)),
        Err(error @ LedgerError::Unknown(_)) => {
            console::error(localized!(
                "the reply of the database was lost: run the command again; if it says that the ledger has rows, they were moved",
                "没有收到数据库的提交结果：请重新运行该命令；如果提示消息库中已有数据，说明已迁移完成"
            ));
            Err(error.into())
        }
        Err(error) => {
            let error = CliError::from(error);
            Err(match marked(source, false).await {
                Ok(_) => error,
                Err(second) => error.and(second),
            })
        }
    }
}

async fn marked(mut source: SqliteMove, is_moved: bool) -> Result<SqliteMove, CliError> {
    on_blocking_thread(move || source.mark(is_moved).map(|()| source)).await
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, CliError> {
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(CliError::unexpected(error)),
    }
}
