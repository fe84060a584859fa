//! The command line and its commands, one module each. Each command defines its own flags.

mod check;
mod completions;
mod consent;
mod console;
mod demo;
mod doctor;
mod explain;
mod grant;
mod key;
mod ledger;
mod man;
mod outbox;
mod sandbox;
mod send;
mod serve;
mod status;
mod token;
mod webhook;

use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::error::{CliError, ExitStatus};
use crate::language::{Lang, localized};

/// Send one-time subscription messages of Weixin, with their consent and access tokens.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "wxsub", version, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct Arguments {
    /// Language of texts for people [default: that of the locale]
    #[arg(long, global = true, value_name = "LANG", value_enum)]
    pub(crate) lang: Option<Lang>,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Number of tasks that run before the runtime looks for new events. With tokio's default of 61, a request waits for up to 60 others.
const EVENT_INTERVAL: u32 = 8;

const AFTER_HELP: &str =
    "New here? Run `wxsub demo`. `wxsub --help` lists environment variables and exit codes.";

const AFTER_LONG_HELP: &str = "\
New here? Run `wxsub demo`: it needs no AppID and no network.

Something does not work? Run `wxsub doctor`.

Environment:
  WXSUB_APPID           the AppID, unless --appid is given
  WXSUB_SECRET          the AppSecret
  WXSUB_SECRET_FILE     or the path of a file with the AppSecret
  WXSUB_SERVER          instead of the AppSecret: base URL of a control server (wxsub serve), for send, outbox, grant,
                        webhook, token, status and doctor
  WXSUB_KEY             the client key for the control server
  WXSUB_KEY_FILE        or the path of a file with the client key
  WXSUB_TOKEN_ENDPOINT  stable_token (default), or token, where each fetch invalidates the previous access token
  WXSUB_API_BASE        Weixin's API [default: https://api.weixin.qq.com]; up to 8 base URLs, separated by commas:
                        the next one is used while the first cannot be reached
  WXSUB_MP_BASE         Weixin's consent page, for consent url [default: https://mp.weixin.qq.com]
  WXSUB_ALLOW_HTTP      1: plain http:// to any host, for test networks; secrets are then sent unencrypted
  WXSUB_PROXY           URL of a proxy; HTTPS_PROXY and similar variables are not used
  WXSUB_LEDGER_PASSWORD_FILE
                        path of a file with the password of the ledger's database
  WXSUB_INBOX_PASSWORD_FILE
                        path of a file with the password of the database of outbox run --inbox
  WXSUB_CA_FILE         path of a PEM file with the certificate authorities to trust instead of this machine's
  WXSUB_LEDGER_WAIT_S   seconds that a command waits for a ledger which another process has [default: 3]
  LC_ALL, LC_MESSAGES, LANG  the locale: Chinese texts if the first that is set begins with zh
  RUST_LOG              log filter [default: warn; serve: info]; logs go to standard error
  WXSUB_LOG_FORMAT      text (default), or json: one object for each line on standard error

Exit codes:
  0  success
  1  a bug or an unexpected error; serve: the server could not start
  2  wrong usage or invalid input; a rejected callback or webhook
  3  Weixin responded with an error code; no grant allows the message; consent verify: the user cancelled
  4  certainly not sent (no access token or no connection): safe to try again
  5  maybe sent: do not blindly repeat it; serve: a message was cut at the stop

A batch (send --file) exits with the largest code of its lines. A line that was not tried counts as 4, and so does a line
that was refused with 45009 or 45011. A posted message whose result could not be written counts as 5.
outbox, grant and ledger: 2 for an unknown id or a wrong file, 3 if the rules do not allow it, 4 if another process has the
ledger, 5 if the change may have been made although no reply came, 1 if ledger check finds problems.
doctor exits with the code of the first failed check, status with the largest code of all apps.";

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Sandbox(sandbox::RunSandbox),
    Serve(serve::Serve),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Console(console::Console),
    #[command(subcommand)]
    Consent(consent::Consent),
    Send(Box<send::Send>),
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    #[command(subcommand)]
    Grant(grant::Grant),
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    Check(check::Check),
    #[command(subcommand)]
    Token(token::Token),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Status(status::Status),
    Completions(completions::Completions),
    Man(man::Manual),
}

impl Command {
    /// Default log filter of the command.
    pub(crate) fn log_directives(&self) -> &'static str {
        match self {
            // Its steps cause errors on purpose, and it reports each step.
            Self::Demo(_) => "off",
            Self::Serve(_) => "info",
            // It reports each message, and why the ledger fails.
            Self::Send(_) => "warn,wxsub_core::client=off,wxsub_outbox=off",
            Self::Outbox(_) => "warn,wxsub_core::client=off",
            // They report why the only call failed.
            Self::Token(_) => "warn,wxsub_core::token=off",
            Self::Grant(_) => "warn,wxsub_core::consent=off,wxsub_core::consent::signing_key=warn",
            _ => "warn",
        }
    }

    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Demo(demo) => {
                let mut folder = None;
                block_on(demo.run(&mut folder), CLOSE_TIMEOUT)
            }
            Self::Sandbox(sandbox) => block_on(sandbox.run(), Duration::ZERO),
            Self::Serve(serve) => block_on(serve.run(), Duration::ZERO),
            Self::Key(key) => key.run(),
            Self::Console(console) => console.run(),
            Self::Consent(consent) => consent.run(),
            Self::Send(send) if send.has_ledger() => block_on(send.run(), CLOSE_TIMEOUT),
            Self::Send(send) => block_on(send.run(), Duration::ZERO),
            Self::Outbox(outbox) => block_on(outbox.run(), CLOSE_TIMEOUT),
            Self::Grant(grant) => block_on(grant.run(), CLOSE_TIMEOUT),
            Self::Ledger(ledger) => block_on(ledger.run(), CLOSE_TIMEOUT),
            Self::Webhook(webhook) => block_on(webhook.run(), Duration::ZERO),
            Self::Check(check) => check.run(),
            Self::Token(token) => block_on(token.run(), Duration::ZERO),
            Self::Explain(explain) => explain.run(),
            Self::Doctor(doctor) => block_on(doctor.run(), Duration::ZERO),
            Self::Status(status) => block_on(status.run(), Duration::ZERO),
            Self::Completions(completions) => completions.run(&mut Arguments::command()),
            Self::Man(manual) => manual.run(Arguments::command()),
        }
    }
}

/// How long the end of a process waits for tasks and blocking calls that have the ledger: they may still hold it, and the file is
/// whole when the last one is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a command to its end. Tasks and blocking calls that are still running then are waited for, at most so long, and dropped.
fn block_on(
    command: impl Future<Output = Result<ExitStatus, CliError>>,
    shutdown_timeout: Duration,
) -> Result<ExitStatus, CliError> {
    let runtime =
        Builder::new_multi_thread().enable_all().event_interval(EVENT_INTERVAL).build().map_err(|error| {
            let text = localized!("the runtime cannot be started: {error}", "无法启动运行时：{error}");
            CliError::unexpected(text)
        })?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(shutdown_timeout);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Arguments::command().debug_assert();
    }
}
