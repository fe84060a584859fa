//! The ledger file of `--outbox`: how it is opened, and what its errors mean for the exit status.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_outbox::ledger::{Applied, Change, NotRecorded};
use wxsub_outbox::{Ledger, LedgerError, OutboxError};
use wxsub_proto::AppId;
use wxsub_sqlite::{OpenError, SqliteLedger, SqliteOptions};

use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::{localized, shown};
use crate::{backend, console, environment};

/// The ledger and the app that a command is about.
#[derive(Debug, Args)]
pub(crate) struct LedgerFlags {
    /// The ledger: a SQLite file
    #[arg(long, value_name = "LEDGER")]
    pub(crate) outbox: PathBuf,
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    pub(crate) appid: Option<String>,
}

impl LedgerFlags {
    /// The app.
    pub(crate) fn appid(&self) -> Result<AppId, CliError> {
        let mut usage = UsageErrors::default();
        let appid = backend::appid(self.appid.as_deref(), &mut usage);
        usage.finish(appid)
    }

    /// Opens the ledger to read, also while another process writes.
    pub(crate) async fn read(&self) -> Result<SqliteLedger, CliError> {
        SqliteLedger::open_read_only(&self.outbox).await.map_err(|error| open_error(&error))
    }

    /// Opens the ledger for this process alone.
    pub(crate) async fn write(&self) -> Result<SqliteLedger, CliError> {
        open_existing(&self.outbox).await
    }
}

/// How long a command waits for another one that has the ledger.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// How a command opens a ledger to write.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::new().lock_timeout(LOCK_TIMEOUT)
}

/// Opens a ledger for this process alone, and makes it if there is none.
pub(crate) async fn open_or_create(path: &Path) -> Result<SqliteLedger, CliError> {
    if !path.exists() {
        let path = path.display();
        console::note(localized!("new ledger: {path}", "新建 ledger：{path}"));
    }
    SqliteLedger::open(path, options()).await.map_err(|error| open_error(&error))
}

/// Opens a ledger for this process alone.
pub(crate) async fn open_existing(path: &Path) -> Result<SqliteLedger, CliError> {
    if !path.exists() {
        return Err(open_error(&OpenError::Missing { path: path.to_owned() }));
    }
    open_or_create(path).await
}

/// Commits one change.
pub(crate) async fn commit(ledger: &dyn Ledger, change: Change) -> Result<Applied, CliError> {
    let applied = ledger.commit(vec![change]).await.and_then(|mut applied| {
        applied.pop().unwrap_or_else(|| Err(LedgerError::Inconsistent("a commit gave no result".to_owned())))
    });
    applied.map_err(|error| ledger_error(&error))
}

/// The error for a result that belongs to another change.
pub(crate) fn unexpected(applied: &Applied) -> CliError {
    CliError::unexpected(localized!(
        "ledger: unexpected result {applied:?}",
        "ledger：意外的结果 {applied:?}"
    ))
}

/// The time now.
pub(crate) fn now() -> UnixMillis {
    SystemClock::new().now().wall
}

/// Who runs the command, for the history.
pub(crate) fn operator() -> String {
    environment::value_lossy("USER").unwrap_or_else(|| "operator".to_owned())
}

/// The error for a ledger that was not opened. Later it may be free, and its disk may have room.
pub(crate) fn open_error(error: &OpenError) -> CliError {
    let exit = match error {
        OpenError::Locked { .. } | OpenError::Unavailable { .. } => ExitStatus::NotSent,
        _ => ExitStatus::Usage,
    };
    CliError::new(exit, shown(&error.localized()))
}

/// The error for a ledger that failed.
pub(crate) fn ledger_error(error: &LedgerError) -> CliError {
    let exit = match error {
        LedgerError::Unavailable(_) | LedgerError::Unknown(_) => ExitStatus::NotSent,
        _ => ExitStatus::Unexpected,
    };
    CliError::new(exit, shown(&error.localized()))
}

/// The error for a message that was not recorded.
pub(crate) fn not_recorded(error: &NotRecorded) -> CliError {
    let exit = match error {
        NotRecorded::Grant(_) => ExitStatus::Refused,
        NotRecorded::KeyReused(_) => ExitStatus::Usage,
        NotRecorded::Paused | NotRecorded::WorkerGone => ExitStatus::NotSent,
    };
    CliError::new(exit, shown(&OutboxError::NotRecorded(*error).localized()))
}

/// The error for an outbox that did not do what it should.
pub(crate) fn outbox_error(error: &OutboxError) -> CliError {
    match error {
        OutboxError::Ledger(error) => ledger_error(error),
        error => CliError::unexpected(shown(&error.localized())),
    }
}
