//! `wxsub sandbox`: a simulated Weixin on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::TcpListener;
use wxsub_proto::{AppId, AppSecret, TemplateId};
use wxsub_sandbox::{Journal, Sandbox, http};

use crate::console;
use crate::environment::{ALLOW_HTTP, API_BASE, APPID, MP_BASE, SECRET};
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::interrupt::Interrupt;
use crate::language::localized;
use crate::output::Output;
use crate::shell::quote;

/// Run a simulated Weixin on this machine; needs no AppID and no network.
///
/// The first line on standard output is the base URL. Ctrl-C stops the sandbox after the requests in progress; a second one stops
/// it at once.
#[derive(Debug, Args)]
pub(crate) struct RunSandbox {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8459")]
    listen: SocketAddr,
    /// App and its test secret; repeatable [default: a ready-made app]
    #[arg(long, value_name = "APPID:SECRET")]
    app: Vec<String>,
    /// Template of every app; repeatable [default: a ready-made template]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Vec<String>,
    /// File to append a line of JSON to for each request to Weixin, before it takes effect
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Host name to serve besides loopback names and IP addresses; repeatable
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
}

const DEFAULT_APP: &str = "wx0123456789abcdef:play-money-0123456789abcdef";
const DEFAULT_TEMPLATE: &str = "sandbox-template-1";

/// Maximum number of apps, and of templates, that are printed.
const MAX_PRINTED: usize = 10;

impl RunSandbox {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let apps = all(&self.app, DEFAULT_APP, |text| app(text, &mut usage));
        let templates =
            all(&self.template, DEFAULT_TEMPLATE, |text| usage.optional("--template", Some(text)));
        let sandbox = Sandbox::new();
        for name in &self.allow_host {
            usage.collect("--allow-host", sandbox.allow_host(name));
        }
        let (apps, templates) = usage.finish(apps.zip(templates))?;
        let journal = self.journal.as_deref().map(open_journal).transpose()?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| self.cannot_listen(&error))?;
        let address = listener.local_addr().map_err(|error| self.cannot_listen(&error))?;
        let interrupt = Interrupt::listen(None)?;
        for (appid, secret) in &apps {
            sandbox.add_app(appid.clone(), secret.clone(), templates.clone());
        }
        if let Some(journal) = journal {
            sandbox.set_journal(journal);
        }
        print_variables(connectable(address), &apps, &templates);
        tokio::select! {
            () = http::serve(listener, sandbox, interrupt.requested()) => {}
            // A client that reads no response would keep the sandbox.
            () = interrupt.forced() => {}
        }
        Ok(ExitStatus::Success)
    }

    fn cannot_listen(&self, error: &std::io::Error) -> CliError {
        let address = self.listen;
        let line = localized!(
            "--listen: {address} cannot be used: {error}; choose another port, or 0",
            "--listen：{address} 无法使用：{error}；请换一个端口，或用 0"
        );
        CliError::usage(line)
    }
}

fn open_journal(path: &Path) -> Result<Journal, CliError> {
    Journal::open(path).map_err(|error| {
        CliError::usage(localized!(
            "--journal: {path} cannot be opened: {error}; give a file that you can write",
            "--journal：{path} 无法打开：{error}；请指定可以写入的文件",
            path = path.display()
        ))
    })
}

/// Parses all values, or the default if there are none.
fn all<T>(given: &[String], default: &str, mut parse: impl FnMut(&str) -> Option<T>) -> Option<Vec<T>> {
    match given {
        [] => Some(vec![parse(default)?]),
        given => {
            // All values are parsed before `collect`, so that every problem is named.
            let all: Vec<_> = given.iter().map(|text| parse(text)).collect();
            all.into_iter().collect()
        }
    }
}

fn app(text: &str, usage: &mut UsageErrors) -> Option<(AppId, AppSecret)> {
    let Some((appid, secret)) = text.split_once(':') else {
        usage.add("--app", localized!("must be APPID:SECRET", "必须是 APPID:SECRET"));
        return None;
    };
    let appid = usage.optional("--app", Some(appid));
    let secret = usage.optional("--app", Some(secret));
    appid.zip(secret)
}

/// Replaces an unspecified address with loopback, so that clients can connect.
fn connectable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Prints the base URL on standard output, and on standard error the variables that point `wxsub` to the sandbox.
fn print_variables(address: SocketAddr, apps: &[(AppId, AppSecret)], templates: &[TemplateId]) {
    let base = format!("http://{address}");
    let mut output = Output::new();
    output.line(&base);
    output.flush();
    console::note(localized!(
        "# The sandbox runs; messages stay in it. Ctrl-C stops it. To point wxsub to it:",
        "# 沙箱已启动，消息只留在沙箱内；按 Ctrl-C 停止。让 wxsub 使用它："
    ));
    console::note(format_args!("export {API_BASE}={base}"));
    console::note(format_args!("export {MP_BASE}={base}"));
    if !address.ip().is_loopback() {
        console::note(format_args!("export {ALLOW_HTTP}=1"));
    }
    for (index, (appid, secret)) in apps.iter().take(MAX_PRINTED).enumerate() {
        // The variables select one app. The others are comments.
        let prefix = if index == 0 { String::new() } else { localized!("# or: ", "# 或：") };
        console::note(format_args!(
            "{prefix}export {APPID}={appid} {SECRET}={}",
            quote(secret.expose_secret())
        ));
    }
    print_rest("--app", apps.len());
    for template in templates.iter().take(MAX_PRINTED) {
        console::note(localized!("# template: {template}", "# 模板：{template}"));
    }
    print_rest("--template", templates.len());
}

/// Says how many values of an option are not printed.
fn print_rest(option: &str, number: usize) {
    if let Some(rest) = number.checked_sub(MAX_PRINTED).filter(|rest| *rest > 0) {
        console::note(localized!("# and {rest} more of {option}", "# {option} 另有 {rest} 个"));
    }
}
