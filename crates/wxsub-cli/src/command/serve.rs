//! `wxsub serve`: the control server.

mod reload;
mod sandbox;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::TcpListener;
use wxsub_server::{Config, Server};

use self::reload::reload_on_hangup;
use self::sandbox::SandboxSetup;
use crate::console;
use crate::environment;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::stderr;

/// Run the control server, which refreshes and serves access tokens and sends messages for many apps.
///
/// The first line on standard output is the base URL. SIGHUP reloads the configuration. Ctrl-C or SIGTERM finishes the requests
/// in progress, for 8 s at most; a second one stops at once.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file in TOML
    #[arg(long, value_name = "FILE", required_unless_present = "sandbox", conflicts_with = "sandbox")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long, requires = "config")]
    check: bool,
    /// Run with a built-in sandbox, an app and a key, and print curl commands to try
    #[arg(long)]
    sandbox: bool,
    /// Address to listen on with --sandbox; port 0 takes any free port
    #[arg(long, value_name = "ADDR", requires = "sandbox", default_value = "127.0.0.1:8460")]
    listen: SocketAddr,
}

impl Serve {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        stderr::start_writer_thread().map_err(CliError::unexpected)?;
        let Some(path) = self.config else {
            let sandbox = SandboxSetup::start(self.listen).await?;
            return serve(sandbox.config().clone(), None, Some(&sandbox)).await;
        };
        let config = read(&path).map_err(CliError::usage)?;
        if self.check {
            console::note("the configuration is valid");
            return Ok(ExitStatus::Success);
        }
        serve(config, Some(path), None).await
    }
}

/// Reads the configuration and prints its warnings.
///
/// # Errors
///
/// All problems of the configuration.
fn read(path: &Path) -> Result<Config, Vec<String>> {
    let text = fs::read_to_string(path)
        .map_err(|error| vec![format!("--config: {} cannot be read: {error}", path.display())])?;
    let result = Config::read(&text, environment::value_lossy);
    let (config, warnings) =
        result.map_err(|error| error.problems().map(ToString::to_string).collect::<Vec<_>>())?;
    warnings.iter().for_each(console::warning);
    Ok(config)
}

async fn serve(
    config: Config,
    path: Option<PathBuf>,
    sandbox: Option<&SandboxSetup>,
) -> Result<ExitStatus, CliError> {
    let interrupt =
        Interrupt::listen(Some("finishing requests in progress; repeat the signal to stop at once"))?;
    let listener = bind("listen", config.listen()).await?;
    let address = listener.local_addr().map_err(CliError::unexpected)?;
    let metrics = match config.metrics_listen() {
        Some(address) => Some(bind("metrics_listen", address).await?),
        None => None,
    };
    let server = Server::builder(config.clone())
        .build()
        .await
        .map_err(|error| CliError::new(ExitStatus::Usage, error))?;
    let scheme = if config.has_tls() { "https" } else { "http" };
    let base = format!("{scheme}://{address}");
    let reload = path.map(|path| reload_on_hangup(path, config, server.clone())).transpose()?;
    let mut output = Output::new();
    output.line(&base);
    output.flush();
    if let Some(sandbox) = sandbox {
        sandbox.print_commands(&base);
    }
    tokio::select! {
        () = server.serve(listener, metrics, interrupt.requested()) => {}
        () = interrupt.forced() => {}
        () = async {
            match reload {
                Some(reload) => reload.await,
                None => std::future::pending().await,
            }
        } => {}
    }
    Ok(ExitStatus::Success)
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::new(
            ExitStatus::Usage,
            format_args!("{key}: {address} cannot be used: {error}; choose another port, or 0"),
        )
    })
}
