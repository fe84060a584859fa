//! The ledger file of `--outbox`: how it is opened, and what its errors mean for the exit status.

use std::path::Path;

use wxsub_outbox::{LedgerError, OutboxError};
use wxsub_sqlite::{OpenError, SqliteLedger, SqliteOptions};

use crate::console;
use crate::error::{CliError, ExitStatus};

/// Opens a ledger for this process alone, and makes it if there is none.
pub(crate) async fn open_or_create(path: &Path) -> Result<SqliteLedger, CliError> {
    if !path.exists() {
        console::note(format_args!("new ledger: {}", path.display()));
    }
    SqliteLedger::open(path, SqliteOptions::new()).await.map_err(|error| open_error(&error))
}

/// The error for a ledger that was not opened. One that another process has is free later.
pub(crate) fn open_error(error: &OpenError) -> CliError {
    let exit = match error {
        OpenError::Locked { .. } => ExitStatus::NotSent,
        _ => ExitStatus::Usage,
    };
    CliError::new(exit, error)
}

/// The error for a ledger that failed.
pub(crate) fn ledger_error(error: &LedgerError) -> CliError {
    let exit = match error {
        LedgerError::Unavailable(_) | LedgerError::Unknown(_) => ExitStatus::NotSent,
        _ => ExitStatus::Unexpected,
    };
    CliError::new(exit, error)
}

/// The error for an outbox that did not do what it should.
pub(crate) fn outbox_error(error: &OutboxError) -> CliError {
    match error {
        OutboxError::Ledger(error) => ledger_error(error),
        error => CliError::unexpected(error),
    }
}
