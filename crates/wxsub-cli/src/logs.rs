//! Logs on standard error.

use tracing_subscriber::EnvFilter;

use crate::console::StderrWriter;
use crate::environment;
use crate::error::{CliError, UsageErrors};

/// Starts logging with the filter of `RUST_LOG`, else with `default_directives`, in the format of `WXSUB_LOG_FORMAT`.
///
/// # Errors
///
/// If the value of `WXSUB_LOG_FORMAT` is invalid.
pub(crate) fn start(default_directives: &str) -> Result<(), CliError> {
    let mut usage = UsageErrors::default();
    let is_json = match environment::value(environment::LOG_FORMAT, &mut usage).as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => {
            usage.add(environment::LOG_FORMAT, "must be text or json");
            false
        }
    };
    let directives = environment::value_lossy(environment::RUST_LOG);
    let filter = EnvFilter::builder().parse_lossy(directives.as_deref().unwrap_or(default_directives));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StderrWriter)
        .with_ansi(false)
        .log_internal_errors(false);
    let started = if is_json { logs.json().try_init() } else { logs.try_init() };
    // Fails only if logging was started before.
    debug_assert!(started.is_ok());
    usage.finish(Some(()))
}
