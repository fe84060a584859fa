//! The tokio runtime for the commands that need one.

use tokio::runtime::Builder;

use crate::error::CliError;
use crate::exit::ExitStatus;

/// Runs a command to its end. Tasks and blocking calls that are still running are dropped without a wait.
pub(crate) fn block_on(
    command: impl Future<Output = Result<ExitStatus, CliError>>,
) -> Result<ExitStatus, CliError> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::unexpected(format_args!("the runtime cannot be started: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
