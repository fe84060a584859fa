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

/// Run the control server: it keeps the access tokens of many apps, hands them out, and sends.
///
/// The first line on standard output is its base URL. SIGHUP reads the configuration again. Ctrl-C or SIGTERM finishes
/// what is under way, for 8 s at most; a second one ends it at once.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "sandbox", conflicts_with = "sandbox")]
    config: Option<PathBuf>,
    /// Only say what is wrong with the configuration
    #[arg(long, requires = "config")]
    check: bool,
    /// With an app, a key and a Weixin of its own: ready to try with curl
    #[arg(long)]
    sandbox: bool,
    /// Where to listen with --sandbox; port 0 takes any free one
    #[arg(long, value_name = "ADDR", requires = "sandbox", default_value = "127.0.0.1:8460")]
    listen: SocketAddr,
}

impl Serve {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        stderr::start_writer_thread().map_err(CliError::unexpected)?;
        let Some(path) = self.config else {
            let trial = SandboxSetup::start(self.listen).await?;
            return serve(trial.config().clone(), None, Some(&trial)).await;
        };
        let config = read(&path).map_err(CliError::usage)?;
        if self.check {
            console::note("the configuration can be used");
            return Ok(ExitStatus::Success);
        }
        serve(config, Some(path), None).await
    }
}

/// Reads the configuration and says what is worth knowing; or gives everything that is wrong with it.
fn read(path: &Path) -> Result<Config, Vec<String>> {
    let text = fs::read_to_string(path)
        .map_err(|error| vec![format!("--config: {} cannot be read: {error}", path.display())])?;
    let read = Config::read(&text, environment::value_lossy);
    let (config, warnings) =
        read.map_err(|error| error.problems().map(ToString::to_string).collect::<Vec<_>>())?;
    warnings.iter().for_each(console::warning);
    Ok(config)
}

async fn serve(
    config: Config,
    path: Option<PathBuf>,
    trial: Option<&SandboxSetup>,
) -> Result<ExitStatus, CliError> {
    let interrupt = Interrupt::listen(Some("finishing what is under way; once more to end at once"))?;
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
    let reloading = path.map(|path| reload_on_hangup(path, config, server.clone())).transpose()?;
    let mut output = Output::new();
    output.line(&base);
    output.flush();
    if let Some(trial) = trial {
        trial.tell(&base);
    }
    tokio::select! {
        () = server.serve(listener, metrics, interrupt.requested()) => {}
        () = interrupt.forced() => {}
        () = async {
            match reloading {
                Some(reloading) => reloading.await,
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
