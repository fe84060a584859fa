//! Logs on standard error.

use tracing_subscriber::EnvFilter;

use crate::console::StderrWriter;
use crate::environment;
use crate::error::{CliError, UsageErrors};
use crate::language::localized;

/// Whether `WXSUB_LOG_FORMAT` asks for JSON.
pub(crate) fn is_json() -> bool {
    environment::value_lossy(environment::LOG_FORMAT).as_deref() == Some("json")
}

/// Starts logging with the filter of `RUST_LOG`, else with `default_directives`, in the format of `WXSUB_LOG_FORMAT`.
///
/// # Errors
///
/// If the value of `RUST_LOG` or `WXSUB_LOG_FORMAT` is invalid.
pub(crate) fn start(default_directives: &str) -> Result<(), CliError> {
    let mut usage = UsageErrors::default();
    if !matches!(
        environment::value(environment::LOG_FORMAT, &mut usage).as_deref(),
        None | Some("text" | "json")
    ) {
        usage.add(environment::LOG_FORMAT, localized!("must be text or json", "必须是 text 或 json"));
    }
    let directives = environment::value(environment::RUST_LOG, &mut usage);
    let directives = directives.as_deref().unwrap_or(default_directives);
    let filter = EnvFilter::builder().parse(directives).unwrap_or_else(|error| {
        usage.add(environment::RUST_LOG, localized!("is no log filter: {error}", "不是日志过滤器：{error}"));
        EnvFilter::default()
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StderrWriter)
        .with_ansi(false)
        .log_internal_errors(false);
    let started = if is_json() { logs.json().try_init() } else { logs.try_init() };
    // Fails only if logging was started before.
    debug_assert!(started.is_ok());
    usage.finish(Some(()))
}
