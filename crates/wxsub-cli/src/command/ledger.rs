//! `wxsub ledger`: the file itself.

mod copy;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wxsub_core::rfc3339;
use wxsub_outbox::idempotency::batch_client;
use wxsub_outbox::ledger::{Change, PruneReport, RestoreReport};
use wxsub_outbox::retention::Retention;
use wxsub_postgres::PostgresLedger;
use wxsub_sqlite::SqliteLedger;

use crate::backend;
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::{commit, ledger_place, open_existing, options, postgres_options, postgres_url};
use crate::output::Output;
use crate::shell::{flag, quote};

/// Check, back up, restore and move a ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    Check(Check),
    Migrate(Migrate),
    Backup(Backup),
    Copy(copy::Copy),
    Restore(Restore),
    Prune(Prune),
}

impl Ledger {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Check(check) => check.run().await,
            Self::Migrate(migrate) => migrate.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Copy(copy) => copy.run().await,
            Self::Restore(restore) => restore.run().await,
            Self::Prune(prune) => prune.run().await,
        }
    }
}

/// Which ledger.
#[derive(Debug, Args)]
struct Target {
    /// The ledger: a SQLite file, or postgres://USER@HOST/DATABASE
    #[arg(long, visible_alias = "url", value_name = "LEDGER", value_parser = ledger_place())]
    outbox: PathBuf,
}

/// Look for damage, rows that refer to nothing, and wrong counts. Changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    target: Target,
}

impl Check {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let path = &self.target.outbox;
        let problems = match postgres_url(path)? {
            Some(url) => PostgresLedger::check(postgres_options(url)?).await?,
            None => SqliteLedger::check(path).await?,
        };
        let mut output = Output::new();
        problems.iter().for_each(|problem| output.line(problem));
        if problems.is_empty() {
            console::note(localized!("no problems", "没有问题"));
            return Ok(output.end(ExitStatus::Success));
        }
        let count = problems.len();
        console::error(localized!(
            "problems: {count}; keep a copy, and restore a backup",
            "发现问题 {count} 个；请保留一份副本，并恢复备份"
        ));
        Ok(output.end(ExitStatus::Unexpected))
    }
}

/// Bring the schema up to date. A command that writes does it by itself.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    target: Target,
}

impl Migrate {
    async fn run(self) -> Result<ExitStatus, CliError> {
        open_existing(&self.target.outbox).await?;
        console::note(localized!("the schema is up to date", "表结构已是最新版本"));
        Ok(ExitStatus::Success)
    }
}

/// Write a copy of the ledger, also while another process writes.
///
/// The copy must be restored with `ledger restore --from` before it is used. Never copy the file itself while a process has it.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    target: Target,
    /// The copy; there must be no such file
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let ledger = &self.target.outbox;
        if postgres_url(ledger)?.is_some() {
            let text = localized!(
                "back up a database with its own tools: pg_dump, or a base backup with the write-ahead log; after a restore run \
                 `wxsub ledger restore --snapshot`",
                "请使用数据库自己的工具备份：pg_dump，或基础备份加 WAL；恢复后请运行 `wxsub ledger restore --snapshot`"
            );
            return Err(CliError::usage(text));
        }
        SqliteLedger::backup(ledger, &self.to).await?;
        console::note(localized!("backup written to {path}", "备份已写入 {path}", path = self.to.display()));
        Ok(ExitStatus::Success)
    }
}

/// Put a backup in the place of the ledger, and make it usable.
///
/// Messages that were not final become maybe_sent, and grants that were not used in_doubt. The files of the ledger are kept under
/// another name.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    target: Target,
    /// The backup, which `ledger backup` has written
    #[arg(long, value_name = "BACKUP")]
    from: Option<PathBuf>,
    /// The ledger itself came back with a snapshot of the disk, or was copied with other means
    #[arg(long, conflicts_with = "from")]
    snapshot: bool,
}

impl Restore {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let path = &self.target.outbox;
        let shown = quote(path);
        let report = match &self.from {
            _ if postgres_url(path)?.is_some() => self.restore_database(path).await?,
            Some(backup) => {
                let (report, replaced) = SqliteLedger::restore_backup(backup, path, options()?).await?;
                if let Some(replaced) = replaced {
                    console::note(localized!(
                        "the ledger before it is now {path}",
                        "原来的消息库改名为 {path}",
                        path = replaced.display()
                    ));
                }
                report
            }
            None if self.snapshot => SqliteLedger::restore_snapshot(path, options()?).await?,
            None => {
                let lost = SqliteLedger::unfinished(path).await?;
                let (messages, grants) = (lost.messages, lost.grants);
                let text = localized!(
                    "nothing was restored: give --from BACKUP; or --snapshot, if {shown} came back with a snapshot of the \
                     disk. A ledger in use would lose what is not final: queued messages: {messages}, open grants: {grants}",
                    "没有恢复：请加上 --from BACKUP；如果 {shown} 来自磁盘快照，请加上 --snapshot。正在使用的消息库会丢失\
                     没有最终状态的内容：排队中的消息 {messages} 条，可用的授权 {grants} 个"
                );
                return Err(CliError::usage(text));
            }
        };
        note_restored(report, path);
        Ok(ExitStatus::Success)
    }

    /// A database that came back from a backup is restored where it is.
    async fn restore_database(&self, url: &Path) -> Result<RestoreReport, CliError> {
        if !self.snapshot {
            return Err(CliError::usage(localized!(
                "nothing was restored: stop every process, restore the database with its own tools, and give --snapshot",
                "没有恢复：请停止所有进程，用数据库自己的工具恢复数据库，然后加上 --snapshot"
            )));
        }
        commit(&*open_existing(url).await?, Change::Restore).await
    }
}

/// Says what the restore of this ledger changed, and what to do.
fn note_restored(report: RestoreReport, path: &Path) {
    let outbox = flag("--outbox", path);
    let RestoreReport { messages, grants, inbox_rows, last_event_at } = report;
    console::note(localized!(
        "messages that became maybe_sent: {messages}; grants that became in_doubt: {grants}",
        "变为 maybe_sent 的消息：{messages} 条；变为 in_doubt 的授权：{grants} 个"
    ));
    console::note(match last_event_at.map(rfc3339::format) {
        Some(at) => localized!(
            "idempotency keys used since {at} are unknown: a request repeated with one is sent again",
            "{at} 之后使用的幂等键没有记录：用这些幂等键重复的请求会再次发送"
        ),
        None => localized!(
            "the backup has no events: no idempotency key is known",
            "备份中没有历史记录：没有任何幂等键"
        ),
    });
    if messages > 0 {
        console::note(localized!(
            "decide the messages with: wxsub outbox decide --restored {outbox} --appid APPID",
            "请裁定这些消息：wxsub outbox decide --restored {outbox} --appid APPID"
        ));
    }
    if inbox_rows > 0 {
        console::note(localized!(
            "rows of wxsub_inbox that may have been sent, and have an error now: {inbox_rows}; delete each, or set error \
             to NULL to send it",
            "wxsub_inbox 中可能已发出、现在 error 不为空的行：{inbox_rows} 行；请逐行删除，或把 error 设为 NULL 以重新发送"
        ));
    }
    if grants > 0 {
        console::note(localized!(
            "list the grants with: wxsub grant list --state in_doubt {outbox} --appid APPID; ask these users \
             again, because a new consent makes a new grant",
            "查看这些授权：wxsub grant list --state in_doubt {outbox} --appid APPID；请让这些用户重新授权，\
             新的授权会登记为新的记录"
        ));
    }
}

/// Delete rows that have been kept long enough, or the keys of a batch.
///
/// `outbox run` and `send --outbox` delete old rows by themselves, but never the keys of a batch: they keep its lines
/// from being sent again.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    target: Target,
    /// Delete the keys of this batch of the app; its file is then new to the ledger
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// AppID, with --batch [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID", requires = "batch")]
    appid: Option<String>,
}

/// How many rows of a kind one transaction deletes.
const PRUNED_AT_ONCE: usize = 1_000;

/// How many batches an error names.
const MAX_BATCHES: usize = 20;

impl Prune {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let path = &self.target.outbox;
        let Some(batch) = &self.batch else {
            return prune(&*open_existing(path).await?).await;
        };
        let appid = UsageErrors::check(|usage| backend::appid(self.appid.as_deref(), usage))?;
        let ledger = open_existing(path).await?;
        let change = Change::PruneBatch { appid: appid.clone(), client: batch_client(batch) };
        let (deleted, kept): (usize, usize) = commit(&*ledger, change).await?;
        if (deleted, kept) == (0, 0) {
            let known = ledger.batch_clients(&appid, MAX_BATCHES).await?;
            let known: Vec<_> =
                known.iter().map(|client| format!("{:?}", client.trim_start_matches("batch:"))).collect();
            let known = if known.is_empty() { localized!("none", "没有") } else { known.join(", ") };
            return Err(CliError::usage(localized!(
                "--batch: the ledger has no batch {batch:?} of this app; its batches: {known}",
                "--batch：消息库中没有该应用的批次 {batch:?}；已有的批次：{known}"
            )));
        }
        console::note(localized!("keys deleted: {deleted}", "已删除幂等键：{deleted} 个"));
        if kept > 0 {
            console::note(localized!(
                "keys kept, because their messages are queued or undecided: {kept}",
                "保留幂等键 {kept} 个，因为它们的消息在排队或待裁定"
            ));
        }
        Ok(ExitStatus::Success)
    }
}

async fn prune(ledger: &dyn wxsub_outbox::Ledger) -> Result<ExitStatus, CliError> {
    let mut total = PruneReport::default();
    loop {
        let report: PruneReport = commit(ledger, Change::Prune(Retention::default(), PRUNED_AT_ONCE)).await?;
        if report == PruneReport::default() {
            break;
        }
        total.messages += report.messages;
        total.keys += report.keys;
        total.grants += report.grants;
    }
    let PruneReport { messages, keys, grants, .. } = total;
    console::note(localized!(
        "deleted messages: {messages}, keys: {keys}, grants: {grants}",
        "已删除消息 {messages} 条、幂等键 {keys} 个、授权 {grants} 个"
    ));
    Ok(ExitStatus::Success)
}
