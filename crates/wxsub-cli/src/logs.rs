//! Logs, on standard error.

use tracing_subscriber::EnvFilter;

use crate::environment;
use crate::error::CliError;
use crate::stderr::StderrWriter;
use crate::usage::UsageErrors;

/// Logs what `RUST_LOG` asks for; without it, what these directives ask for. `WXSUB_LOG_FORMAT` says for whom.
pub(crate) fn start(otherwise: &str) -> Result<(), CliError> {
    let mut usage = UsageErrors::default();
    let for_programs = match environment::value(environment::LOG_FORMAT, &mut usage).as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => {
            usage.add(environment::LOG_FORMAT, "must be text or json");
            false
        }
    };
    let wanted = environment::value_lossy(environment::RUST_LOG);
    let filter = EnvFilter::builder().parse_lossy(wanted.as_deref().unwrap_or(otherwise));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StderrWriter)
        .with_ansi(false)
        .log_internal_errors(false);
    let started = if for_programs { logs.json().try_init() } else { logs.try_init() };
    // It can only fail where logs were started before.
    debug_assert!(started.is_ok());
    usage.finish(Some(()))
}
