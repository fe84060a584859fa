//! Reloads the configuration at SIGHUP.

use std::path::PathBuf;

use wxsub_server::{Config, Server};

use crate::console;
use crate::error::CliError;

/// Reloads the configuration at each SIGHUP. A configuration with errors changes nothing.
///
/// # Errors
///
/// If the signal handler cannot be installed.
#[cfg(unix)]
pub(super) fn reload_on_hangup(
    path: PathBuf,
    started: Config,
    server: Server,
) -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| CliError::unexpected(format_args!("signals cannot be handled: {error}")))?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            reload(&path, &started, &server);
        }
        std::future::pending::<()>().await;
    })
}

#[cfg(not(unix))]
pub(super) fn reload_on_hangup(
    _path: PathBuf,
    _started: Config,
    _server: Server,
) -> Result<impl Future<Output = ()>, CliError> {
    Ok(std::future::pending())
}

#[cfg(unix)]
fn reload(path: &std::path::Path, started: &Config, server: &Server) {
    match super::read(path) {
        Err(problems) => {
            problems.iter().for_each(console::error);
            console::error("the configuration was not reloaded; the previous one stays in use");
        }
        Ok(config) => {
            for key in config.needs_restart(started) {
                console::warning(format_args!("{key}: has changed; restart the server to apply it"));
            }
            server.reload(&config);
            console::note("the configuration was reloaded");
        }
    }
}
