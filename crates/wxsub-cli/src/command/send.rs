//! `wxsub send`: one message from flags, or many from a file.

mod batch;
mod deliver;
mod dry_run;
mod flags;
mod flow;
mod line_set;
mod progress;
mod rate;
mod results;
mod summary;

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::value_parser;
use wxsub_core::Client;
use wxsub_core::clock::SystemClock;

use self::batch::{BatchSend, missing_line};
use self::deliver::{Sender, deliver};
use self::flags::MessageFlags;
use self::flow::{FlowRules, OnError};
use self::line_set::LineSet;
use self::rate::Rate;
use self::results::ResultWriter;
use crate::app::DirectConfig;
use crate::backend::Backend;
use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::shell::quote;
use crate::usage::UsageErrors;
use wxsub_server::send_result::{SendResult, SendStatus};

/// How many messages are in flight unless told otherwise.
const CONCURRENCY: u16 = 16;

/// How many seconds a message may take unless told otherwise.
const TIMEOUT: u64 = 30;

/// Send one message, or a file of them.
///
/// A message is posted once; once more only if Weixin calls the access token stale. What may have arrived is never repeated:
/// the exit code tells (4: safe to try again; 5: do not blindly repeat). With WXSUB_SERVER the control server sends it, and no
/// AppSecret is needed here.
///
/// A file has one message a line. A line may carry an "id" (text or a whole number), which comes back in its result and is
/// not sent to Weixin. The second line for one user, template and scene is invalid. The batch waits out errcode 45011 and
/// tries that line again. It stops at errcode 45009, and, unless told to continue, at a refused token call, at an error of
/// the configuration, and when nothing answers several tries in a row. After a stop it prints the command that goes on with
/// exactly the lines that were not tried, not sent, or refused with 45009 or 45011.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Send every line of this JSON Lines file, in Weixin's field names; `-` reads standard input. One JSON result a line
    #[arg(long, value_name = "F.jsonl", help_heading = "Many messages", conflicts_with_all = MessageFlags::ALL)]
    file: Option<PathBuf>,
    /// How many messages are under way at the same time
    #[arg(long, value_name = "N", default_value_t = CONCURRENCY, value_parser = value_parser!(u16).range(1..=1024))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    concurrency: u16,
    /// Send only these lines of the file: numbers and ranges, such as 120,122-131,136-
    #[arg(long, value_name = "LINES", conflicts_with = "from_line")]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    lines: Option<LineSet>,
    /// Start at this line of the file, the same as --lines N-
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    from_line: u64,
    /// Post at most this many lines
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    limit: Option<u64>,
    /// Post at most N messages a second (N/s) or a minute (N/m)
    #[arg(long, value_name = "N/s")]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    rate: Option<Rate>,
    /// What to do at a refused token call, a configuration error or a lost network; 45009 always stops
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    on_error: OnError,
    /// How many seconds one message may take, access token included
    #[arg(long, value_name = "S", default_value_t = TIMEOUT, value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The app that sends, if not WXSUB_APPID
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Check everything and say what would be sent; post nothing and fetch no access token
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    message: MessageFlags,
}

/// Printed at the first signal that asks to stop.
const FINISHING: &str =
    "finishing what is under way; Ctrl-C again stops at once and leaves open what became of it";

impl Send {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match &self.file {
            Some(path) => self.many(path).await,
            None => self.one().await,
        }
    }

    async fn many(&self, path: &Path) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let way = Backend::read(self.appid.as_deref(), &mut usage);
        let input = Input::open(path).map_err(|why| usage.add("--file", why)).ok();
        let selection = self.lines.clone().unwrap_or_else(|| LineSet::from_line(self.from_line));
        if let Some(Ok(Some((line, lines)))) =
            input.as_ref().map(|input| missing_line(path, input, &selection))
        {
            usage.add(
                if self.lines.is_some() { "--lines" } else { "--from-line" },
                format_args!("selects line {line}, but the file has {lines}"),
            );
        }
        let (way, input) = usage.finish(way.zip(input))?;
        let rules = FlowRules {
            on_error: self.on_error,
            limit: self.limit,
            interval: self.rate.map(Rate::interval).unwrap_or_default(),
        };
        let batch = BatchSend::new(input, selection, self.concurrency, rules);
        if self.dry_run {
            return dry_run::run(batch, path, self.limit).await;
        }
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        let results = ResultWriter::new(stdout());
        let end = batch.run(&self.sender(way), &interrupt, &SystemClock::new(), results).await;
        Ok(end.print_summary(path, |rest| self.continuation(path, rest)))
    }

    /// The command that sends these lines in the same way.
    fn continuation(&self, path: &Path, rest: &LineSet) -> String {
        let file = quote(path);
        // A name that begins with a hyphen looks like a flag.
        let equals = if file.len() > 1 && file.starts_with('-') { '=' } else { ' ' };
        let mut command = format!("wxsub send --file{equals}{file}");
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                command = format!("{command} {flag} {}", quote(value));
            }
        };
        add("--appid", self.appid.clone());
        add("--concurrency", (self.concurrency != CONCURRENCY).then(|| self.concurrency.to_string()));
        add("--timeout", (self.timeout != TIMEOUT).then(|| self.timeout.to_string()));
        add("--rate", self.rate.map(|rate| rate.to_string()));
        add("--limit", self.limit.map(|limit| limit.to_string()));
        add("--on-error", (self.on_error == OnError::Continue).then(|| "continue".to_owned()));
        add("--lines", Some(rest.to_string()));
        command
    }

    async fn one(&self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let way = Backend::read(self.appid.as_deref(), &mut usage);
        let draft = self.message.draft(&mut usage)?;
        let message = match draft.validate() {
            Ok(message) => Some(message),
            Err(problems) => {
                problems.iter().for_each(|problem| usage.add(flags::name(problem.field()), problem.rule()));
                self.tell(&SendResult::invalid(&draft, &problems));
                None
            }
        };
        let (way, message) = usage.finish(way.zip(message))?;
        if self.dry_run {
            return Ok(dry_run::report(&message, self.json));
        }
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        let report = deliver(&self.sender(way), &message, &interrupt).await;
        if let Some(why) = &report.why {
            console::error(why);
        }
        Ok(self.tell(&report.result))
    }

    /// Prints the result: for programs in full; for people a success, because anything else is said on standard error.
    fn tell(&self, result: &SendResult) -> ExitStatus {
        let mut output = Output::new();
        match (self.json, result.outcome) {
            (true, _) => output.json(result),
            (false, SendStatus::Sent) => output.line("sent"),
            (false, _) => {}
        }
        match output.end(result.outcome.into()) {
            // It was sent, and the line that says so is lost.
            ExitStatus::Unexpected if result.outcome == SendStatus::Sent => ExitStatus::MaybeSent,
            exit => exit,
        }
    }

    fn sender(&self, way: Backend) -> Sender {
        let limit = Duration::from_secs(self.timeout);
        let app = match way {
            Backend::Weixin(app) => app,
            Backend::Server(server) => return Sender::ControlServer(server, limit),
        };
        app.warn_before_fetch();
        let DirectConfig { appid, secret, endpoint, bases, transport } = app;
        let client = Client::builder(appid, secret, transport).api_bases(bases).timeout(limit);
        Sender::Direct(client.token_cache(|keeper| keeper.endpoint(endpoint)).build())
    }
}
