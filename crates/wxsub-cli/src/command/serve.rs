//! `wxsub serve`: the control server.

use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::TcpListener;
use wxsub_api::ApiKey;
use wxsub_proto::{AppId, AppSecret, TemplateId};
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, Config, Server, generate_api_key};

use crate::console;
use crate::environment::{self, APPID, KEY, MP_BASE, SERVER};
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::interrupt::Interrupt;
use crate::output::Output;

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
    /// Host name that the sandbox serves besides loopback names and IP addresses; repeatable
    #[arg(long, value_name = "NAME", requires = "sandbox")]
    allow_host: Vec<String>,
}

impl Serve {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        console::start_writer_thread().map_err(CliError::unexpected)?;
        let Some(path) = self.config else {
            let sandbox = SandboxSetup::start(self.listen, &self.allow_host).await?;
            return serve(sandbox.config().clone(), None, Some(&sandbox)).await;
        };
        let config = read_config(&path).map_err(CliError::usage)?;
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
fn read_config(path: &Path) -> Result<Config, Vec<String>> {
    let text = fs::read_to_string(path)
        .map_err(|error| vec![format!("--config: {} cannot be read: {error}", path.display())])?;
    let result = Config::read(&text, environment::value_lossy);
    let (config, warnings) =
        result.map_err(|error| error.problems().map(|problem| problem.in_file(path)).collect::<Vec<_>>())?;
    warnings.iter().for_each(|warning| console::warning(warning.in_file(path)));
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
        .open_files(raise_open_files())
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
    service_manager::notify_ready();
    let shutdown = async {
        interrupt.requested().await;
        service_manager::notify_stopping();
    };
    tokio::select! {
        () = server.serve(listener, metrics, shutdown) => {}
        () = interrupt.forced() => {}
        () = async {
            match reload {
                Some(reload) => reload.await,
                None => pending().await,
            }
        } => {}
    }
    Ok(ExitStatus::Success)
}

/// Raises the soft limit of open files to the hard one. Returns the limit, if it is known.
#[cfg(unix)]
fn raise_open_files() -> Option<usize> {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    usize::try_from(raised.or_else(|_| rlimit::Resource::NOFILE.get_soft()).ok()?).ok()
}

#[cfg(not(unix))]
fn raise_open_files() -> Option<usize> {
    None
}

/// Tells systemd when the server is ready and when it stops. Does nothing without `NOTIFY_SOCKET`.
#[cfg(unix)]
mod service_manager {
    use sd_notify::{NotifyState, notify};

    /// The server accepts connections. An error changes nothing for the server, so it is ignored.
    pub(super) fn notify_ready() {
        let _ = notify(&[NotifyState::Ready]);
    }

    /// The server finishes the requests in flight.
    pub(super) fn notify_stopping() {
        let _ = notify(&[NotifyState::Stopping]);
    }
}

#[cfg(not(unix))]
mod service_manager {
    pub(super) fn notify_ready() {}
    pub(super) fn notify_stopping() {}
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::new(
            ExitStatus::Usage,
            format_args!("{key}: {address} cannot be used: {error}; choose another port, or 0"),
        )
    })
}

/// Reloads the configuration at each SIGHUP. A configuration with errors changes nothing.
///
/// # Errors
///
/// If the signal handler cannot be installed.
#[cfg(unix)]
fn reload_on_hangup(
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
        pending::<()>().await;
    })
}

#[cfg(not(unix))]
fn reload_on_hangup(
    _path: PathBuf,
    _started: Config,
    _server: Server,
) -> Result<impl Future<Output = ()>, CliError> {
    Ok(pending())
}

#[cfg(unix)]
fn reload(path: &Path, started: &Config, server: &Server) {
    // Also if the configuration has errors: the audit file may have been renamed.
    server.reopen_audit();
    match read_config(path) {
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

const SANDBOX_APPID: &str = "wx0123456789abcdef";
const SANDBOX_SECRET: &str = "play-money-0123456789abcdef";
const SANDBOX_TEMPLATE: &str = "sandbox-template-1";
const COMMANDS: &str = include_str!("serve/try.sh");

/// A running sandbox and the configuration of a control server for it.
struct SandboxSetup {
    config: Config,
    key: ApiKey,
    sandbox_url: String,
}

impl SandboxSetup {
    /// Starts a sandbox and creates a configuration that uses it.
    ///
    /// # Errors
    ///
    /// If no port is free, or if `listen` or a name in `allow_host` is not allowed.
    async fn start(listen: SocketAddr, allow_host: &[String]) -> Result<Self, CliError> {
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::unexpected)?;
        let sandbox_url = format!("http://{}", listener.local_addr().map_err(CliError::unexpected)?);
        let sandbox = Sandbox::new();
        let mut usage = UsageErrors::default();
        for name in allow_host {
            usage.collect("--allow-host", sandbox.allow_host(name));
        }
        usage.finish(Some(()))?;
        let (appid, secret, template) = (
            SANDBOX_APPID.parse::<AppId>(),
            SANDBOX_SECRET.parse::<AppSecret>(),
            SANDBOX_TEMPLATE.parse::<TemplateId>(),
        );
        sandbox.add_app(
            appid.map_err(CliError::unexpected)?,
            secret.map_err(CliError::unexpected)?,
            [template.map_err(CliError::unexpected)?],
        );
        tokio::spawn(http::serve(listener, sandbox, pending()));
        let text = format!(
            "listen = \"{listen}\"\n\
             [[apps]]\nappid = \"{SANDBOX_APPID}\"\nsecret_env = \"PLAY_MONEY\"\ntoken_endpoint = \"token\"\n\
             api_base = \"{sandbox_url}\"\n\
             [[clients]]\nname = \"you\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\", \"admin\"]\n",
            ApiKeyDigest::of(&key)
        );
        let result = Config::read(&text, |_| Some(SANDBOX_SECRET.to_owned()));
        let (config, _) = result.map_err(|error| {
            // Only `listen` comes from the user.
            CliError::usage(error.problems().map(|problem| format!("--{}", problem.without_line())).collect())
        })?;
        Ok(Self { config, key, sandbox_url })
    }

    fn config(&self) -> &Config {
        &self.config
    }

    /// Prints the variables and the commands to try. The README has the same commands.
    fn print_commands(&self, base: &str) {
        let (key, sandbox_url) = (self.key.expose_secret(), &self.sandbox_url);
        console::note(
            "# The control server runs with a built-in sandbox; messages stay in it. Ctrl-C stops it. To try it:",
        );
        console::note(format_args!(
            "export {SERVER}={base} {APPID}={SANDBOX_APPID} {KEY}={key} {MP_BASE}={sandbox_url}"
        ));
        COMMANDS.lines().for_each(console::note);
    }
}
