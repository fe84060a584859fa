//! `wxsub sandbox`: a Weixin on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;
use wxsub_proto::{AppId, AppSecret, TemplateId};
use wxsub_sandbox::{Sandbox, http};

use crate::console;
use crate::environment::{ALLOW_HTTP, API_BASE, APPID, MP_BASE, SECRET};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::shell::quote;
use crate::usage::UsageErrors;

/// Run a Weixin on this machine, to try things without AppID or network.
///
/// The first line on standard output is its base URL. Ctrl-C ends it.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8459")]
    listen: SocketAddr,
    /// An app and its secret, which is play money [default: one ready-made app]
    #[arg(long, value_name = "APPID:SECRET")]
    app: Vec<String>,
    /// A template of every app [default: one ready-made template]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Vec<String>,
}

const DEFAULT_APP: &str = "wx0123456789abcdef:play-money-0123456789abcdef";
const DEFAULT_TEMPLATE: &str = "sandbox-template-1";

impl Serve {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let apps = all(&self.app, DEFAULT_APP, |text| app(text, &mut usage));
        let templates =
            all(&self.template, DEFAULT_TEMPLATE, |text| usage.optional("--template", Some(text)));
        let (apps, templates) = usage.finish(apps.zip(templates))?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| self.cannot_listen(&error))?;
        let address = listener.local_addr().map_err(|error| self.cannot_listen(&error))?;
        let interrupt = Interrupt::listen(None)?;
        let sandbox = Sandbox::new();
        for (appid, secret) in &apps {
            sandbox.add_app(appid.clone(), secret.clone(), templates.clone());
        }
        tell(reachable(address), &apps, &templates);
        let ended = http::serve(listener, sandbox, async move { interrupt.requested().await }).await;
        ended.map_err(|error| self.cannot_listen(&error)).map(|()| ExitStatus::Success)
    }

    fn cannot_listen(&self, error: &std::io::Error) -> CliError {
        let line =
            format_args!("--listen: {} cannot be used: {error}; choose another port, or 0", self.listen);
        CliError::new(ExitStatus::Usage, line)
    }
}

/// All that were given, or the default.
fn all<T>(given: &[String], default: &str, mut read: impl FnMut(&str) -> Option<T>) -> Option<Vec<T>> {
    match given {
        [] => Some(vec![read(default)?]),
        given => {
            // Every one is read, so that every problem is named.
            let all: Vec<_> = given.iter().map(|text| read(text)).collect();
            all.into_iter().collect()
        }
    }
}

fn app(text: &str, usage: &mut UsageErrors) -> Option<(AppId, AppSecret)> {
    let Some((appid, secret)) = text.split_once(':') else {
        usage.add("--app", "must be APPID:SECRET");
        return None;
    };
    let appid = usage.optional("--app", Some(appid));
    let secret = usage.optional("--app", Some(secret));
    appid.zip(secret)
}

/// An address that others can connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The base URL for programs, and for people what points `wxsub` at it.
fn tell(address: SocketAddr, apps: &[(AppId, AppSecret)], templates: &[TemplateId]) {
    let base = format!("http://{address}");
    let mut output = Output::new();
    output.line(&base);
    output.flush();
    console::note("# A Weixin of your own; no message leaves it. Ctrl-C ends it. To point wxsub at it:");
    console::note(format_args!("export {API_BASE}={base}"));
    console::note(format_args!("export {MP_BASE}={base}"));
    if !address.ip().is_loopback() {
        console::note(format_args!("export {ALLOW_HTTP}=1"));
    }
    for (index, (appid, secret)) in apps.iter().enumerate() {
        // Only one can be pointed at.
        let beside = if index == 0 { "" } else { "# or: " };
        console::note(format_args!(
            "{beside}export {APPID}={appid} {SECRET}={}",
            quote(secret.expose_secret())
        ));
    }
    for template in templates {
        console::note(format_args!("# template: {template}"));
    }
}
