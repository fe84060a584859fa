//! `wxsub send`: one message from flags, or many from a file.

mod deliver;
mod file;
mod flags;
mod progress;
mod tally;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::value_parser;
use wxsub_core::Client;

use self::deliver::{Sender, deliver};
use self::flags::MessageFlags;
use crate::app::App;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::talk;
use crate::way::Way;
use crate::wrong_usage::WrongUsage;
use wxsub_server::result_line::{Outcome, ResultLine};

/// Send one message, or a file of them.
///
/// A message is posted once; once more only if Weixin calls the access token stale. What may have arrived is never repeated:
/// the exit code tells (4: safe to try again; 5: do not blindly repeat). With WXSUB_SERVER the control server sends it, and no
/// AppSecret is needed here.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Send every line of this JSON Lines file, in Weixin's field names; `-` reads standard input. One JSON result a line
    #[arg(long, value_name = "F.jsonl", help_heading = "Many messages", conflicts_with_all = MessageFlags::ALL)]
    file: Option<PathBuf>,
    /// How many messages are under way at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u16).range(1..=1024))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    concurrency: u16,
    /// Start at this line of the file
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    #[arg(help_heading = "Many messages", requires = "file", conflicts_with_all = MessageFlags::ALL)]
    from_line: u64,
    /// How many seconds one message may take, access token included
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The app that sends, if not WXSUB_APPID
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    message: MessageFlags,
}

/// Said at the first Ctrl-C.
const FINISHING: &str =
    "finishing what is under way; Ctrl-C again stops at once and leaves open what became of it";

impl Send {
    /// Does it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match &self.file {
            Some(path) => self.many(path).await,
            None => self.one().await,
        }
    }

    async fn many(&self, path: &Path) -> Result<Exit, Failure> {
        let mut usage = WrongUsage::default();
        let way = Way::read(self.appid.as_deref(), &mut usage);
        let input = Input::open(path).map_err(|why| usage.add("--file", why)).ok();
        let (way, input) = usage.end(way.zip(input))?;
        let job = file::Job::new(path, input, self.concurrency, self.from_line);
        Ok(job.run(&self.sender(way), Interrupt::listen(Some(FINISHING))?).await)
    }

    async fn one(&self) -> Result<Exit, Failure> {
        let mut usage = WrongUsage::default();
        let way = Way::read(self.appid.as_deref(), &mut usage);
        let draft = self.message.draft(&mut usage)?;
        let message = match draft.check() {
            Ok(message) => Some(message),
            Err(problems) => {
                problems.iter().for_each(|problem| usage.add(flags::name(problem.field()), problem.rule()));
                self.tell(&ResultLine::invalid(&draft, &problems));
                None
            }
        };
        let (way, message) = usage.end(way.zip(message))?;
        let delivered = deliver(&self.sender(way), &message, &Interrupt::listen(Some(FINISHING))?).await;
        if let Some(why) = &delivered.why {
            talk::error(why);
        }
        Ok(self.tell(&delivered.result))
    }

    /// Prints the result: for programs in full; for people a success, because anything else is said on standard error.
    fn tell(&self, result: &ResultLine) -> Exit {
        let mut output = Output::new();
        match (self.json, result.outcome) {
            (true, _) => output.json(result),
            (false, Outcome::Sent) => output.line("sent"),
            (false, _) => {}
        }
        output.end(result.outcome.into())
    }

    fn sender(&self, way: Way) -> Sender {
        let limit = Duration::from_secs(self.timeout);
        let app = match way {
            Way::Weixin(app) => app,
            Way::Server(server) => return Sender::Server(server, limit),
        };
        app.announce_fetch();
        let App { appid, secret, endpoint, base, transport } = app;
        let client = Client::builder(appid, secret, transport).api_base(base).timeout(limit);
        Sender::Here(client.keeper(|keeper| keeper.endpoint(endpoint)).build())
    }
}
