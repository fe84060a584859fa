//! `wxsub send`: sends one message from flags, or a batch from a file.

mod batch;
mod batch_gate;
mod deliver;
mod durable;
mod durable_lines;
mod flow;
mod line_set;
mod report;

use std::io::stdout;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};
use derive_more::Display;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wxsub_api::{SendResult, SendStatus};
use wxsub_core::Client;
use wxsub_core::clock::SystemClock;
use wxsub_outbox::{App, Outbox};
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{LocalizedText, Message, ValidationErrors};

use self::batch::{BatchSend, missing_line};
use self::batch_gate::BatchGate;
use self::deliver::{Sender, deliver};
use self::durable::DurableBatch;
use self::flow::{FlowRules, OnError};
use self::line_set::LineSet;
use self::report::{ResultWriter, WouldSend};
use crate::backend::{Backend, DirectConfig, ServerConfig};
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::language::{localized, shown};
use crate::ledger_file::{ledger_place, open_or_create};
use crate::output::{Output, print};
use crate::shell::flag;

/// Default number of messages in flight.
const DEFAULT_CONCURRENCY: u16 = 16;

/// Default timeout of a message, in seconds.
const DEFAULT_TIMEOUT: u64 = 30;

/// Send one message, or a file of messages.
///
/// wxsub posts a message once, and once more only if Weixin rejects the access token. It never repeats a message that may have
/// arrived. The exit code says whether a retry is safe (4: safe to try again; 5: do not blindly repeat it). With WXSUB_SERVER the
/// control server sends the message, and no AppSecret is needed here.
///
/// A file has one message per line. A line may have an "id" (text or a whole number), which is returned in the result and not
/// sent to Weixin. A second line for the same user, template and scene is invalid.
///
/// The batch waits at errcode 45011 and tries the line again. It stops at errcode 45009. By default it also stops at a refused
/// token call, at a configuration error, and after several attempts in a row without a response. After a stop it prints the
/// command for the remaining lines: those not tried, not sent, or refused with 45009 or 45011.
///
/// With --outbox each line is recorded in a ledger, a SQLite file or a PostgreSQL database, before anything is sent. Run the
/// same command again after a crash, a stop, or a correction of the file: it goes on, and sends no line twice. A line is known
/// by its "id", else by its content.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Send every line of this JSON Lines file, and print one JSON result per line; `-` reads standard input
    #[arg(long, value_name = "F.jsonl", help_heading = "Many messages", conflicts_with = MESSAGE)]
    file: Option<PathBuf>,
    /// Maximum number of messages in flight
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONCURRENCY, value_parser = value_parser!(u16).range(1..=1024))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    concurrency: u16,
    /// Send only these lines: numbers and ranges, such as 120,122-131,136-
    #[arg(long, value_name = "LINES", conflicts_with = "from_line")]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    lines: Option<LineSet>,
    /// Start at this line; the same as --lines N-
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    from_line: u64,
    /// Post at most this many lines
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    limit: Option<u64>,
    /// Post at most N messages a second (N/s) or a minute (N/m)
    #[arg(long, value_name = "N/s")]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    rate: Option<Rate>,
    /// What to do at a refused token call, a configuration error or a network failure; 45009 always stops
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with = MESSAGE)]
    on_error: OnError,
    /// Timeout of one message in seconds, with the token call
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT, value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Record every line in this ledger first, so that the same command goes on after a crash and sends no line twice
    #[arg(long, value_name = "LEDGER", help_heading = "Durable batch", value_parser = ledger_place())]
    #[arg(requires = "file", conflicts_with_all = ["lines", "from_line", MESSAGE])]
    outbox: Option<PathBuf>,
    /// Name of the batch in the ledger [default: the absolute path of the file]
    #[arg(long, value_name = "NAME", help_heading = "Durable batch", requires = "outbox")]
    #[arg(conflicts_with_all = ["lines", "from_line", MESSAGE])]
    batch: Option<String>,
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Check everything and print what would be sent; post nothing and fetch no access token
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    message: MessageFlags,
}

/// Printed at the first stop signal.
pub(super) const FINISHING: LocalizedText = LocalizedText::new(
    "finishing messages in flight; Ctrl-C again stops at once with unknown outcomes",
    "正在等待已发出的消息得到结果；再按一次 Ctrl-C 会立即停止，这些消息的结果将无法得知",
);

impl Send {
    /// Whether it is a durable batch.
    pub(crate) fn has_ledger(&self) -> bool {
        self.outbox.is_some()
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match (&self.file, &self.outbox) {
            (Some(path), Some(ledger)) if !self.dry_run => self.send_durable(path, ledger).await,
            (Some(path), _) => self.send_file(path).await,
            (None, _) => self.send_one().await,
        }
    }

    async fn send_file(&self, path: &Path) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let backend = Backend::read(self.appid.as_deref(), &mut usage);
        let input = Input::open(path).map_err(|error| usage.add("--file", error)).ok();
        let selection = self.lines.clone().unwrap_or_else(|| LineSet::from_line(self.from_line));
        if let Some(Ok(Some((line, lines)))) =
            input.as_ref().map(|input| missing_line(path, input, &selection))
        {
            usage.add(
                if self.lines.is_some() { "--lines" } else { "--from-line" },
                localized!(
                    "selects line {line}, but the file has {lines}",
                    "选择了第 {line} 行，但文件只有 {lines} 行"
                ),
            );
        }
        let (backend, input) = usage.finish(backend.zip(input))?;
        let rules = self.rules(self.rate.map(Rate::interval).unwrap_or_default());
        let batch = BatchSend::new(input, selection, self.concurrency, rules);
        if self.dry_run {
            return batch.dry_run(path, self.limit).await;
        }
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        let results = ResultWriter::new(stdout());
        let end = batch.run(&self.sender(backend)?, &interrupt, &SystemClock::new(), results).await;
        interrupt.noted().await;
        Ok(end.print_summary(path, |rest| self.continuation(path, Some(rest))))
    }

    fn rules(&self, interval: Duration) -> FlowRules {
        FlowRules { on_error: self.on_error, limit: self.limit, interval }
    }

    async fn send_durable(&self, path: &Path, ledger: &Path) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let app = DirectConfig::read_for_worker(self.appid.as_deref(), &mut usage);
        let input = Input::open(path).map_err(|error| usage.add("--file", error)).ok();
        let is_file = input.as_ref().is_none_or(|input| input.length.is_some());
        let name = batch_name(self.batch.as_deref(), Some(path).filter(|_| is_file), &mut usage);
        let (app, (input, name)) = usage.finish(app.zip(input.zip(name)))?;
        let appid = app.appid.clone();
        let client = self.client(app)?;
        // A signal ends the wait for a ledger, because nothing is in flight.
        let opened = open_or_create(ledger).await?;
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        // The rate is the worker's.
        let gate = Arc::new(BatchGate::new(self.rules(Duration::ZERO), interrupt.clone()));
        let mut app = App::new(appid.clone(), client)
            .concurrency(NonZeroUsize::new(self.concurrency.into()).unwrap_or(NonZeroUsize::MIN))
            .gate(gate.clone());
        if let Some(rate) = self.rate {
            app = rate.limit(app);
        }
        let outbox = Outbox::with_ledger(opened).app(app).build();
        let batch = DurableBatch { name: &name, appid: &appid, outbox: &outbox, gate: &gate, ledger };
        let end = batch.run(path, input, &interrupt, ResultWriter::new(stdout())).await;
        interrupt.noted().await;
        Ok(end?.print_summary(&batch, || self.continuation(path, None)))
    }

    /// The command that sends these lines, or continues a durable batch, with the same settings.
    fn continuation(&self, path: &Path, rest: Option<&LineSet>) -> String {
        let mut command = format!("wxsub send {}", flag("--file", path));
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command = format!("{command} {}", flag(name, value));
            }
        };
        add("--appid", self.appid.clone());
        add("--concurrency", (self.concurrency != DEFAULT_CONCURRENCY).then(|| self.concurrency.to_string()));
        add("--timeout", (self.timeout != DEFAULT_TIMEOUT).then(|| self.timeout.to_string()));
        add("--rate", self.rate.map(|rate| rate.to_string()));
        add("--limit", self.limit.map(|limit| limit.to_string()));
        add("--on-error", (self.on_error == OnError::Continue).then(|| "continue".to_owned()));
        add("--lines", rest.map(LineSet::to_string));
        let ledger = self.outbox.as_ref().map(|ledger| ledger.to_string_lossy().into_owned());
        add("--outbox", ledger.filter(|_| rest.is_none()));
        add("--batch", self.batch.clone().filter(|_| rest.is_none()));
        command
    }

    async fn send_one(&self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let backend = Backend::read(self.appid.as_deref(), &mut usage);
        let draft = self.message.draft(&mut usage)?;
        let message = match draft.validate() {
            Ok(message) => Some(message),
            Err(problems) => {
                add_problems(&problems, &mut usage);
                self.print(&SendResult::invalid(&draft, &problems));
                None
            }
        };
        let (backend, message) = usage.finish(backend.zip(message))?;
        if self.dry_run {
            let would_send = WouldSend::new(&message, None, None);
            return Ok(print(self.json, &would_send, |output| output.line("would be sent")));
        }
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        let report = deliver(&self.sender(backend)?, &message, &interrupt).await;
        interrupt.noted().await;
        if let Some(description) = &report.description {
            console::error(description);
        }
        Ok(self.print(&report.result))
    }

    /// Prints the result and returns the exit status.
    ///
    /// Text output has only a success. Standard error has the other outcomes.
    fn print(&self, result: &SendResult) -> ExitStatus {
        let mut output = Output::new();
        match (self.json, result.outcome) {
            (true, _) => output.json(result),
            (false, SendStatus::Sent) => output.line("sent"),
            (false, _) => {}
        }
        match output.end(result.into()) {
            // The message was sent, but the output was not written.
            ExitStatus::Unexpected if result.outcome == SendStatus::Sent => ExitStatus::MaybeSent,
            exit => exit,
        }
    }

    fn sender(&self, backend: Backend) -> Result<Sender, CliError> {
        match backend {
            Backend::Direct(app) => self.client(app).map(Sender::Direct),
            Backend::ControlServer(ServerConfig { appid, server }) => {
                Ok(Sender::ControlServer(appid, server.timeout(Duration::from_secs(self.timeout))))
            }
        }
    }

    fn client(&self, app: DirectConfig) -> Result<Client, CliError> {
        app.client(Duration::from_secs(self.timeout))
    }
}

/// The name of a durable batch. Standard input, a pipe or a device has no path that identifies it.
fn batch_name(given: Option<&str>, path: Option<&Path>, usage: &mut UsageErrors) -> Option<String> {
    if let Some(name) = given {
        let valid = !name.is_empty() && name.chars().count() <= 255 && !name.contains(char::is_control);
        return match valid {
            true => Some(name.to_owned()),
            false => {
                usage.add(
                    "--batch",
                    localized!(
                        "must have 1 to 255 characters, and no control characters",
                        "必须是 1 到 255 个字符，不含控制字符"
                    ),
                );
                None
            }
        };
    }
    let absolute = path.and_then(|path| std::path::absolute(path).ok());
    let name = absolute.and_then(|path| path.to_str().map(str::to_owned));
    if name.is_none() {
        usage.add(
            "--batch",
            localized!(
                "is missing; give the batch a name, because the file has none that identifies it",
                "未填写；输入没有可以识别的文件名，请给这个批次起一个名称"
            ),
        );
    }
    name
}

/// The group of the flags of one message.
const MESSAGE: &str = "message";

/// The flags of one message.
#[derive(Debug, Args)]
#[group(id = MESSAGE)]
#[command(next_help_heading = "One message")]
pub(super) struct MessageFlags {
    /// OpenID of the receiver
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true)]
    to: Option<String>,
    /// Template of the consent
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Option<String>,
    /// Scene of the consent: 0 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    scene: Option<String>,
    /// Title: at most 15 characters
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    title: Option<String>,
    /// Content: at most 200 characters; line breaks are allowed
    #[arg(long, value_name = "C", allow_hyphen_values = true, conflicts_with = "content_file")]
    content: Option<String>,
    /// Read the content from this file, without one newline at the end; `-` reads standard input
    #[arg(long, value_name = "F")]
    content_file: Option<PathBuf>,
    /// Colour of the content
    #[arg(long, value_name = "#RRGGBB")]
    color: Option<String>,
    /// Web page that a tap opens
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Mini program that a tap opens
    #[arg(long, value_name = "APPID")]
    miniprogram_appid: Option<String>,
    /// Page of the mini program
    #[arg(long, value_name = "PATH")]
    miniprogram_path: Option<String>,
}

/// Maximum length of a content file, in bytes. A valid content is shorter.
const MAX_CONTENT_FILE_BYTES: u64 = 64 * 1024;

impl MessageFlags {
    /// Returns the message, or adds its problems.
    pub(super) fn message(&self, usage: &mut UsageErrors) -> Result<Option<Message>, CliError> {
        let validated = self.draft(usage)?.validate();
        Ok(validated.map_err(|problems| add_problems(&problems, usage)).ok())
    }

    /// Returns the message without validation.
    fn draft(&self, usage: &mut UsageErrors) -> Result<MessageDraft<'static>, CliError> {
        let content = match &self.content_file {
            Some(path) => Some(read_content(path).unwrap_or_else(|error| {
                usage.add("--content-file", error);
                // A placeholder that is valid, so that the content has no second problem.
                "?".to_owned()
            })),
            None => self.content.clone(),
        };
        let miniprogram = match (&self.miniprogram_appid, &self.miniprogram_path) {
            (None, None) => None,
            (appid, pagepath) => Some(object([("appid", appid), ("pagepath", pagepath)])),
        };
        let mut message = object([
            ("touser", &self.to),
            ("template_id", &self.template),
            ("url", &self.url),
            ("scene", &self.scene),
            ("title", &self.title),
        ]);
        message.extend(miniprogram.map(|page| ("miniprogram".to_owned(), page.into())));
        let content = object([("value", &content), ("color", &self.color)]);
        message.insert("data".to_owned(), json!({ "content": content }));
        // Objects with text: this conversion cannot fail.
        MessageDraft::deserialize(Value::Object(message)).map_err(CliError::unexpected)
    }
}

fn object<const N: usize>(members: [(&str, &Option<String>); N]) -> Map<String, Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    given.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn read_content(path: &Path) -> Result<String, String> {
    let bytes = Input::read(path, MAX_CONTENT_FILE_BYTES).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| localized!("must be UTF-8 text", "必须是 UTF-8 文本"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
}

fn add_problems(problems: &ValidationErrors, usage: &mut UsageErrors) {
    problems
        .iter()
        .for_each(|problem| usage.add(flag_name(problem.field()), shown(&problem.rule().localized())));
}

/// Returns the flag for a field of the message.
fn flag_name(field: &'static str) -> &'static str {
    match field {
        "touser" => "--to",
        "template_id" => "--template",
        "scene" => "--scene",
        "title" => "--title",
        "data.content.value" => "--content",
        "data.content.color" => "--color",
        "url" => "--url",
        "miniprogram.appid" => "--miniprogram-appid",
        "miniprogram.pagepath" => "--miniprogram-path",
        other => other,
    }
}

/// Maximum number of attempts per unit of time, evenly spaced.
#[derive(Debug, Clone, Copy, Display)]
#[display("{attempts}/{unit}")]
pub(super) struct Rate {
    attempts: NonZeroU32,
    /// `s` or `m`.
    unit: char,
}

impl Rate {
    const MAX: u32 = 1000;

    fn unit_length(self) -> Duration {
        Duration::from_secs(if self.unit == 's' { 1 } else { 60 })
    }

    /// The app with this limit.
    pub(super) fn limit(self, app: App) -> App {
        app.rate(self.attempts, self.unit_length())
    }

    /// Minimum time between two attempts.
    fn interval(self) -> Duration {
        self.unit_length() / self.attempts.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once('/') {
            Some((number, "s")) => Some((number, 's')),
            Some((number, "m")) => Some((number, 'm')),
            _ => None,
        };
        parsed
            .and_then(|(number, unit)| Some(Self { attempts: number.parse().ok()?, unit }))
            .filter(|rate| rate.attempts.get() <= Self::MAX)
            .ok_or_else(|| {
                format!("must be a number from 1 to {} and a unit, such as 10/s or 90/m", Self::MAX)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_number_and_unit() {
        for (text, millis) in [("10/s", 100), ("1000/s", 1), ("1/s", 1000), ("90/m", 666), ("1/m", 60_000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.interval().as_millis(), rate.to_string()), (millis, text.to_owned()));
        }
        for text in ["", "10", "/s", "0/s", "1001/s", "10/h", "-1/s", "1.5/s", "10/s/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
