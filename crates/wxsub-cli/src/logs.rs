//! Logs, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::environment;

/// Logs what `RUST_LOG` asks for; without it, what is of this level.
pub(crate) fn start(otherwise: LevelFilter) {
    let wanted = environment::value_or_nothing(environment::RUST_LOG).unwrap_or_default();
    let filter = EnvFilter::builder().with_default_directive(otherwise.into()).parse_lossy(wanted);
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .try_init();
    // It can only fail where logs were started before.
    debug_assert!(started.is_ok());
}
