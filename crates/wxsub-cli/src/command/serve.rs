//! `wxsub serve`: the control server.

mod receiver;
mod service_manager;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use wxsub_api::ApiKey;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::webhook::WebhookSecret;
use wxsub_proto::LocalizedText;
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, BuildError, Config, Server, generate_api_key, hash_password};

use self::receiver::print_webhooks;
use self::service_manager::{Notification, notify};
use crate::console::{self, Level};
use crate::environment::{self, APPID, KEY, MP_BASE, SERVER};
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::interrupt::{Interrupt, Signals};
use crate::language::{localized, shown};
use crate::output::Output;

/// Maximum time that a reload waits for files.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of connections that wait in the kernel. Linux bounds it by `net.core.somaxconn`, 4096 unless it was changed. The
/// client of one more waits a second before it tries again.
const BACKLOG: u32 = 4096;

/// Run the control server, which refreshes and serves access tokens and sends messages for many apps.
///
/// The first line on standard output is the base URL. SIGHUP reloads the configuration, with the files of its include, and opens
/// the audit file anew. Ctrl-C or SIGTERM finishes the requests in progress, for drain_s at most; a second one stops at once. Exit
/// code 1: the server could not start; 2: the configuration is wrong; 5: a message was cut at the stop, and may have been sent.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file in TOML; its include names files with more apps and clients, relative to its folder
    #[arg(long, value_name = "FILE", required_unless_present = "sandbox", conflicts_with = "sandbox")]
    config: Option<PathBuf>,
    /// Check the configuration, try what a start would try, and exit
    #[arg(long, requires = "config", conflicts_with = "sandbox")]
    check: bool,
    /// Run with a built-in sandbox, an app, a key and a ledger in a temporary folder; print curl commands to try, and webhooks
    #[arg(long)]
    sandbox: bool,
    /// URL of your application that gets the webhooks too, with --sandbox; https, or http to this machine
    #[arg(long, value_name = "URL", requires = "sandbox", conflicts_with = "config")]
    webhook: Option<String>,
    /// Address to listen on with --sandbox; port 0 takes any free port
    #[arg(long, value_name = "ADDR", requires = "sandbox", conflicts_with = "config")]
    #[arg(default_value = "127.0.0.1:8460")]
    listen: SocketAddr,
    /// Host name that the sandbox serves besides loopback names and IP addresses; repeatable
    #[arg(long, value_name = "NAME", requires = "sandbox", conflicts_with = "config")]
    allow_host: Vec<String>,
}

impl Serve {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        console::start_writer_thread().map_err(CliError::unexpected)?;
        let Some(path) = self.config else {
            // Before there is a folder: a signal removes it. Without a configuration to reload, SIGHUP stops the server, too.
            let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
            let sandbox = SandboxSetup::start(self.listen, self.webhook.as_deref(), &self.allow_host).await?;
            return serve(sandbox.config.clone(), &interrupt, None, Some(&sandbox)).await;
        };
        // From here on, a SIGHUP does not end the process.
        let hangups = Signals::hangup()?;
        let config = read_config(&path).map_err(CliError::usages)?;
        if self.check {
            return check_start(&config).await;
        }
        serve(config, &Interrupt::listen(Some(FINISHING))?, Some((path, hangups)), None).await
    }
}

/// Reads the configuration and prints its warnings.
///
/// # Errors
///
/// All problems of the configuration.
fn read_config(path: &Path) -> Result<Config, Vec<String>> {
    let result = Config::from_file(path, environment::value_lossy);
    let (config, warnings) = result
        .map_err(|error| error.problems().map(|problem| shown(&problem.localized())).collect::<Vec<_>>())?;
    warnings.iter().for_each(|warning| console::warning(shown(&warning.localized())));
    Ok(config)
}

/// Tries what a start would try, and prints what it finds.
async fn check_start(config: &Config) -> Result<ExitStatus, CliError> {
    let check = config.check_start(SystemClock::new().now().wall).await;
    check.warnings.iter().for_each(|warning| console::warning(shown(&warning.without_line())));
    let problems = check.problems.iter().chain(&check.refusals);
    problems.for_each(|problem| console::error(shown(&problem.without_line())));
    Ok(match (check.problems.as_slice(), check.refusals.as_slice()) {
        ([], []) => {
            console::note(localized!("the configuration is valid", "配置有效"));
            ExitStatus::Success
        }
        ([], _) => ExitStatus::Usage,
        _ => ExitStatus::Unexpected,
    })
}

/// Printed at the first stop signal.
const FINISHING: LocalizedText = LocalizedText::new(
    "finishing requests in progress; repeat the signal to stop at once",
    "正在等待剩余请求处理完毕；再次发送信号会立即停止",
);

async fn serve(
    config: Config,
    interrupt: &Interrupt,
    reloads: Option<(PathBuf, Signals)>,
    sandbox: Option<&SandboxSetup>,
) -> Result<ExitStatus, CliError> {
    let listener = bind("listen", config.listen())?;
    let address = listener.local_addr().map_err(CliError::unexpected)?;
    let bind_if = |key, address: Option<SocketAddr>| address.map(|address| bind(key, address)).transpose();
    let metrics = bind_if("metrics_listen", config.metrics_listen())?;
    let console_listener = bind_if("console.listen", config.console_listen())?;
    let console_address = console_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let scheme = if config.has_tls() { "https" } else { "http" };
    let base = format!("{scheme}://{address}");
    let built = Server::builder(config).open_files(raise_open_files()).build().await;
    let server = built.map_err(|error| {
        let text = shown(&error.localized());
        match error {
            BuildError::Store(_) => CliError::usage(text),
            _ => CliError::unexpected(text),
        }
    })?;
    if let Some((path, hangups)) = reloads {
        // A task of its own, so that a reload delays neither connections nor signals.
        tokio::spawn(
            Reloader { path, server: server.clone(), files: FileReader { reading: None } }.run(hangups),
        );
    }
    let mut output = Output::new();
    output.line(&base);
    output.flush();
    if let Some(sandbox) = sandbox {
        sandbox.print_commands(&base, console_address);
    }
    notify(&Notification::Ready);
    let shutdown = async {
        interrupt.requested().await;
        notify(&Notification::Stopping);
    };
    let serve_console = async {
        if let Some(listener) = console_listener {
            server.serve_console(listener).await;
        }
    };
    let serving = async { tokio::join!(server.serve(listener, metrics, shutdown), serve_console).0 };
    let mut serving = pin!(serving);
    let cut_messages = tokio::select! {
        cut_messages = &mut serving => cut_messages,
        () = interrupt.forced() => {
            server.cut();
            serving.await
        }
    };
    if cut_messages == 0 {
        return Ok(ExitStatus::Success);
    }
    console::error(localized!(
        "messages cut at the stop: {cut_messages}; they may have been sent, and the audit log has them as maybe_sent",
        "停止时中断了 {cut_messages} 条消息；它们可能已发出，审计日志中记为 maybe_sent"
    ));
    Ok(ExitStatus::MaybeSent)
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

/// As `TcpListener::bind`, which asks for a backlog of 128.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows, this would let another program listen at the same port.
    socket.set_reuseaddr(cfg!(not(windows)))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    listen(address).map_err(|error| {
        CliError::unexpected(localized!(
            "{key}: {address} cannot be used: {error}; choose another port, or 0",
            "{key}：{address} 无法使用：{error}；请换一个端口，或用 0"
        ))
    })
}

/// Reloads the configuration. A configuration that cannot be used changes nothing.
struct Reloader {
    path: PathBuf,
    server: Server,
    files: FileReader<Config>,
}

impl Reloader {
    async fn run(mut self, mut hangups: Signals) {
        loop {
            hangups.next().await;
            notify(&Notification::Reloading);
            // Also if the configuration has errors: the audit file may have been renamed.
            self.server.reopen_audit();
            let path = self.path.clone();
            let reloaded = match self.files.read(&SystemClock::new(), move || read_config(&path)).await {
                Ok(config) => self.server.reload(&config).map_err(|error| vec![shown(&error.localized())]),
                Err(problems) => {
                    self.server.record_failed_reload();
                    Err(problems)
                }
            };
            notify(&Notification::Reloaded { succeeded: reloaded.is_ok() });
            match reloaded {
                Ok(()) => {
                    console::log(Level::Info, localized!("the configuration was reloaded", "已重新加载配置"));
                }
                Err(problems) => {
                    problems.iter().for_each(|problem| console::log(Level::Error, problem));
                    let text = localized!(
                        "the configuration was not reloaded; the previous one stays in use",
                        "没有重新加载配置；继续使用原来的配置"
                    );
                    console::log(Level::Error, text);
                }
            }
        }
    }
}

/// Reads files in another thread: a file system that does not respond blocks only that.
struct FileReader<T> {
    /// The thread, while it reads.
    reading: Option<JoinHandle<Result<T, Vec<String>>>>,
}

impl<T: Send + 'static> FileReader<T> {
    async fn read(
        &mut self,
        clock: &dyn Clock,
        read: impl FnOnce() -> Result<T, Vec<String>> + Send + 'static,
    ) -> Result<T, Vec<String>> {
        if self.reading.as_ref().is_some_and(|reading| !reading.is_finished()) {
            return Err(vec![localized!(
                "the files of an earlier reload are still being read; check their file systems",
                "上一次重新加载仍在读取文件；请检查它们所在的文件系统"
            )]);
        }
        let reading = self.reading.insert(tokio::task::spawn_blocking(read));
        let deadline = clock.now().mono + READ_TIMEOUT;
        match timeout_at(clock, deadline, reading).await {
            Some(Ok(result)) => result,
            Some(Err(error)) => {
                Err(vec![localized!("reading the configuration failed: {error}", "读取配置失败：{error}")])
            }
            None => {
                let seconds = READ_TIMEOUT.as_secs();
                Err(vec![localized!(
                    "reading the configuration and its files took longer than {seconds} s; check their file systems",
                    "读取配置及其文件超过 {seconds} 秒；请检查它们所在的文件系统"
                )])
            }
        }
    }
}

const SANDBOX_APPID: &str = "wx0123456789abcdef";
const SANDBOX_SECRET: &str = "play-money-0123456789abcdef";
const SANDBOX_TEMPLATE: &str = "sandbox-template-1";
/// Where the console of the sandbox listens, unless `--listen` takes any port.
const SANDBOX_CONSOLE_PORT: u16 = 8462;
const COMMANDS: &str = include_str!("serve/try.sh");

/// A running sandbox and the configuration of a control server for it.
struct SandboxSetup {
    config: Config,
    key: ApiKey,
    /// Of the user `ops` of the console.
    password: ApiKey,
    sandbox_url: String,
    /// Signs the webhooks.
    webhook_secret: WebhookSecret,
    /// The ledger, the signing key and the secret of webhooks. Dropping it removes them.
    _folder: TempDir,
}

impl SandboxSetup {
    /// Starts a sandbox and creates a configuration that uses it.
    ///
    /// # Errors
    ///
    /// If no port is free, or if `listen`, `webhook` or a name in `allow_host` is not allowed.
    async fn start(
        listen: SocketAddr,
        webhook: Option<&str>,
        allow_host: &[String],
    ) -> Result<Self, CliError> {
        // Quoted, it is a string of TOML.
        if webhook.is_some_and(|url| !url.bytes().all(|byte| byte.is_ascii_graphic())) {
            let rule = localized!(
                "must have visible ASCII characters only, as in https://shop.example/hooks/wxsub",
                "只能有可见的 ASCII 字符，例如 https://shop.example/hooks/wxsub"
            );
            return Err(CliError::usage(localized!("--webhook: {rule}", "--webhook：{rule}")));
        }
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let sandbox_url = Self::start_sandbox(allow_host).await?;
        let folder = tempfile::tempdir().map_err(CliError::unexpected)?;
        let signing_key = folder.path().join("consent.key");
        let secret = generate_api_key().map_err(CliError::unexpected)?;
        std::fs::write(&signing_key, secret.expose_secret()).map_err(CliError::unexpected)?;
        let password = generate_api_key().map_err(CliError::unexpected)?;
        let password_hash = hash_password(password.expose_secret()).map_err(CliError::unexpected)?;
        let console_port = if listen.port() == 0 { 0 } else { SANDBOX_CONSOLE_PORT };
        let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let secret_file = folder.path().join("webhook.secret");
        let webhook_secret = WebhookSecret::generate().map_err(CliError::unexpected)?;
        std::fs::write(&secret_file, webhook_secret.expose_secret()).map_err(CliError::unexpected)?;
        let receiver = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::unexpected)?;
        let webhook_url = format!("http://{}/", receiver.local_addr().map_err(CliError::unexpected)?);
        tokio::spawn(print_webhooks(receiver, webhook_secret.clone()));
        let endpoint = |name: &str, url: &str| {
            let secret_files = format!("[{secret_file:?}]");
            format!(
                "[[webhooks]]\nname = \"{name}\"\nurl = {url:?}\nsecret_files = {secret_files}\napps = [\"*\"]\n"
            )
        };
        let yours = webhook.map(|url| endpoint("yours", url)).unwrap_or_default();
        let endpoints = endpoint("printed", &webhook_url) + &yours;
        let text = format!(
            "listen = \"{listen}\"\n\
             [[apps]]\nappid = \"{SANDBOX_APPID}\"\nsecret_env = \"PLAY_MONEY\"\ntoken_endpoint = \"token\"\n\
             api_base = \"{sandbox_url}\"\n\
             [[clients]]\nname = \"you\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\", \"outbox:write\", \"outbox:read\", \
             \"outbox:decide\", \"consent\", \"admin\"]\n\
             [ledger]\nurl = {ledger:?}\n[consent]\nkey_file = {signing_key:?}\nmp_base = \"{sandbox_url}\"\n\
             [console]\nlisten = \"127.0.0.1:{console_port}\"\n\
             [[console.users]]\nname = \"ops\"\npassword_hash = \"{password_hash}\"\nrole = \"operator\"\n\
             {endpoints}",
            ApiKeyDigest::of(&key)
        );
        let result = Config::read(&text, |_| Some(SANDBOX_SECRET.to_owned()));
        let (config, _) = result.map_err(|error| {
            // Only `listen` and the URL of the second endpoint come from the user.
            let option = |text: String| format!("--{}", text.replacen("webhooks[1].url", "webhook", 1));
            CliError::usages(error.problems().map(|problem| option(shown(&problem.without_line()))).collect())
        })?;
        Ok(Self { config, key, password, sandbox_url, webhook_secret, _folder: folder })
    }

    /// Starts a sandbox with the app. Returns its base URL.
    async fn start_sandbox(allow_host: &[String]) -> Result<String, CliError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::unexpected)?;
        let sandbox_url = format!("http://{}", listener.local_addr().map_err(CliError::unexpected)?);
        let sandbox = Sandbox::new();
        UsageErrors::check(|usage| {
            for name in allow_host {
                usage.collect("--allow-host", sandbox.allow_host(name));
            }
            Some(())
        })?;
        sandbox.add_app(
            SANDBOX_APPID.parse().map_err(CliError::unexpected)?,
            SANDBOX_SECRET.parse().map_err(CliError::unexpected)?,
            [SANDBOX_TEMPLATE.parse().map_err(CliError::unexpected)?],
        );
        tokio::spawn(http::serve(listener, sandbox, pending()));
        Ok(sandbox_url)
    }

    /// Prints the variables and the commands to try. The README has the same commands.
    fn print_commands(&self, base: &str, console: Option<SocketAddr>) {
        let (key, secret) = (self.key.expose_secret(), self.webhook_secret.expose_secret());
        let sandbox_url = &self.sandbox_url;
        console::note(localized!(
            "# The control server runs with a built-in sandbox; messages stay in it. Ctrl-C stops it. To try it:",
            "# 中控服务器已启动，使用内置沙箱，消息只留在沙箱内；按 Ctrl-C 停止。试用命令："
        ));
        console::note(format_args!(
            "export {SERVER}={base} {APPID}={SANDBOX_APPID} {KEY}={key} WXSUB_WEBHOOK_SECRET={} {MP_BASE}={sandbox_url}",
            *secret
        ));
        COMMANDS.lines().for_each(console::note);
        if let Some(console) = console {
            console::note(localized!(
                "# Console: http://{console}/ with the name ops and the password {password}",
                "# 控制台：http://{console}/，用户名 ops，密码 {password}",
                password = self.password.expose_secret()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use wxsub_core::testing::ManualClock;

    use super::*;

    /// A network file system whose server is gone.
    #[tokio::test]
    async fn files_that_cannot_be_read_in_time_fail_the_reload_only() {
        let (clock, mut files) = (Arc::new(ManualClock::new()), FileReader { reading: None });
        let (responds, wait) = channel::<()>();
        let blocked = move || wait.recv().map_err(|error| vec![error.to_string()]);
        let (first, ()) = tokio::join!(files.read(&*clock, blocked), async {
            clock.advance_and_run(READ_TIMEOUT).await;
        });
        assert!(first.unwrap_err()[0].contains("took longer than 10 s"));
        let second = files.read(&*clock, || Ok(())).await;
        assert!(second.unwrap_err()[0].contains("an earlier reload are still being read"));
        responds.send(()).unwrap();
        while files.read(&*clock, || Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
