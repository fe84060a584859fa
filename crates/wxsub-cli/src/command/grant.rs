//! `wxsub grant`: the consents of a ledger.

mod import;
mod record;

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::id::GrantId;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::state::GrantState;
use wxsub_outbox::view::GrantView;
use wxsub_proto::OpenId;

use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::{LedgerFlags, commit, ledger_error, unexpected};
use crate::output::Output;

/// Record, list and void the consents of a ledger.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    #[command(subcommand)]
    command: GrantCommand,
}

#[derive(Debug, Subcommand)]
enum GrantCommand {
    Record(record::Record),
    List(List),
    Void(Void),
    Import(import::Import),
}

impl Grant {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self.command {
            GrantCommand::Record(record) => record.run().await,
            GrantCommand::List(list) => list.run().await,
            GrantCommand::Void(void) => void.run().await,
            GrantCommand::Import(import) => import.run().await,
        }
    }
}

/// List the grants of a user, or of all users in one state, oldest first.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    ledger: LedgerFlags,
    /// OpenID of the user
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true, required_unless_present = "state")]
    to: Option<String>,
    /// Grants in this state: open, reserved, attempting, used, in_doubt or void
    #[arg(long, value_name = "STATE", conflicts_with = "to")]
    state: Option<GrantState>,
    /// Only grants after this one
    #[arg(long, value_name = "ID", requires = "state")]
    after: Option<GrantId>,
    /// At most this many grants [default: all]
    #[arg(long, value_name = "N", requires = "state", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct GrantList {
    grants: Vec<GrantView>,
}

impl List {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let openid: Option<OpenId> = usage.optional("--to", self.to.as_deref());
        let openid = usage.finish(Some(openid))?;
        let appid = self.ledger.appid()?;
        let ledger = self.ledger.read().await?;
        let grants = match (openid, self.state) {
            (Some(openid), _) => ledger.grants(&appid, &openid).await,
            (None, Some(state)) => {
                let limit =
                    self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                ledger.grants_in_state(&appid, state, self.after, limit).await
            }
            (None, None) => Ok(Vec::new()),
        };
        let grants = grants.map_err(|error| ledger_error(&error))?;
        let grants: Vec<_> = grants.iter().map(GrantView::from).collect();
        let mut output = Output::new();
        if self.json {
            output.json(&GrantList { grants });
            return Ok(output.end(ExitStatus::Success));
        }
        let row = |id: &str, state: &str, at: &str, scene: &str, user: &str, template: &str| {
            format!("{id:36}  {state:10}  {at:24}  {scene:>5}  {user:28}  {template}")
        };
        output.line(row("ID", "STATE", "CONSENTED", "SCENE", "USER", "TEMPLATE"));
        for grant in &grants {
            let at: UnixMillis = grant.consented_at;
            output.line(row(
                &grant.id.to_string(),
                grant.state.as_str(),
                &rfc3339::format(at),
                &grant.scene.to_string(),
                grant.openid.as_str(),
                grant.template_id.as_str(),
            ));
        }
        Ok(output.end(ExitStatus::Success))
    }
}

/// Void an open grant, or one in doubt that no message has.
#[derive(Debug, Args)]
struct Void {
    /// Id of the grant
    id: GrantId,
    /// The ledger: a SQLite file
    #[arg(long, value_name = "LEDGER")]
    outbox: std::path::PathBuf,
}

impl Void {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let ledger = LedgerFlags { outbox: self.outbox, appid: None }.write().await?;
        match commit(&*ledger, Change::VoidGrant { grant: self.id, appid: None }).await? {
            Applied::Grant(Some(_)) => {
                console::note("void");
                Ok(ExitStatus::Success)
            }
            Applied::Grant(None) => {
                let text = localized!(
                    "the grant was not voided: there is none with this id, or a message has it or used it; look at \
                     `wxsub grant list`",
                    "没有作废授权：没有这个 id 的授权，或有消息占用或已使用它；请查看 `wxsub grant list`"
                );
                Err(CliError::new(ExitStatus::Refused, text))
            }
            other => Err(unexpected(&other)),
        }
    }
}
