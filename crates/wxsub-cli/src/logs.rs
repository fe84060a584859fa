//! Logs, on standard error.

use tracing_subscriber::EnvFilter;

use crate::environment;
use crate::failure::Failure;
use crate::stderr::Lines;
use crate::wrong_usage::WrongUsage;

/// Logs what `RUST_LOG` asks for; without it, what these directives ask for. `WXSUB_LOG_FORMAT` says for whom.
pub(crate) fn start(otherwise: &str) -> Result<(), Failure> {
    let mut usage = WrongUsage::default();
    let for_programs = match environment::value(environment::LOG_FORMAT, &mut usage).as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => {
            usage.add(environment::LOG_FORMAT, "must be text or json");
            false
        }
    };
    let wanted = environment::value_or_nothing(environment::RUST_LOG);
    let filter = EnvFilter::builder().parse_lossy(wanted.as_deref().unwrap_or(otherwise));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(false)
        .log_internal_errors(false);
    let started = if for_programs { logs.json().try_init() } else { logs.try_init() };
    // It can only fail where logs were started before.
    debug_assert!(started.is_ok());
    usage.end(Some(()))
}
