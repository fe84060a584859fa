//! `wxsub outbox`: the messages of a ledger, or of a control server.

mod add;
mod decide;
mod inbox;
mod list;
mod run;

use clap::{Args, Subcommand};
use wxsub_outbox::OutboxError;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Change, NotCancelled};
use wxsub_outbox::message::StoredMessage;

use crate::console;
use crate::environment::operator;
use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::ledger_file::commit;
use crate::outbox_access::{OutboxAccess, OutboxFlags};

/// Record, show, decide and send the messages of a ledger, or of a control server.
///
/// `list` and `show` read a ledger beside a process that writes. The other commands need the file for themselves. Without --outbox, the
/// commands ask the control server of WXSUB_SERVER and WXSUB_KEY; `run` needs --outbox.
#[derive(Debug, Subcommand)]
pub(crate) enum Outbox {
    Add(Box<add::Add>),
    List(list::List),
    Show(list::Show),
    Cancel(Cancel),
    Decide(decide::Decide),
    Pause(Pause),
    Resume(Resume),
    Run(run::Run),
}

impl Outbox {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Cancel(cancel) => cancel.run().await,
            Self::Decide(decide) => decide.run().await,
            Self::Pause(pause) => pause.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::Run(run) => run.run().await,
        }
    }
}

/// Withdraw a queued message.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Id of the message
    id: MessageId,
    #[command(flatten)]
    outbox: OutboxFlags,
}

impl Cancel {
    async fn run(self) -> Result<ExitStatus, CliError> {
        match self.outbox.write().await? {
            OutboxAccess::Ledger(ledger) => {
                let change = Change::Cancel { message: self.id, by: operator() };
                let cancelled: Result<StoredMessage, NotCancelled> = commit(&*ledger, change).await?;
                cancelled.map_err(|why| {
                    let exit = match why {
                        NotCancelled::NotFound => ExitStatus::Usage,
                        NotCancelled::Attempting => ExitStatus::MaybeSent,
                        NotCancelled::Final => ExitStatus::Refused,
                    };
                    CliError::new(exit, shown(&OutboxError::NotCancelled(why).localized()))
                })?;
            }
            OutboxAccess::Server(server) => server.cancel(&self.outbox.appid()?, self.id).await?,
        }
        console::note(localized!("cancelled", "已取消"));
        Ok(ExitStatus::Success)
    }
}

/// Let the messages of the app wait in the queue until `outbox resume`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Reason, which `outbox list` shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    outbox: OutboxFlags,
}

impl Pause {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let appid = self.outbox.appid()?;
        match self.outbox.write().await? {
            OutboxAccess::Ledger(ledger) => {
                commit::<()>(&*ledger, Change::Pause { appid, by: operator(), note: self.note }).await?;
            }
            OutboxAccess::Server(server) => drop(server.pause(&appid, &self.note).await?),
        }
        console::note(localized!("paused", "已暂停"));
        Ok(ExitStatus::Success)
    }
}

/// Lift every pause of the app, also those for Weixin's limits and for a missing access token.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    outbox: OutboxFlags,
}

impl Resume {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let appid = self.outbox.appid()?;
        match self.outbox.write().await? {
            OutboxAccess::Ledger(ledger) => {
                commit::<()>(&*ledger, Change::Resume(appid)).await?;
            }
            OutboxAccess::Server(server) => drop(server.resume(&appid).await?),
        }
        console::note(localized!("resumed", "已恢复"));
        Ok(ExitStatus::Success)
    }
}
