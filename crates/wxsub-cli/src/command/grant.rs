//! `wxsub grant`: the consents of a ledger, or of a control server.

mod import;
mod record;

use clap::{Args, Subcommand};
use wxsub_api::ProblemKind;
use wxsub_core::rfc3339;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::GrantId;
use wxsub_outbox::ledger::Change;
use wxsub_outbox::state::GrantState;
use wxsub_outbox::view::{GrantList, GrantView};

use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::commit;
use crate::outbox_access::{OutboxAccess, OutboxFlags, PAGE_SIZE, needs_ledger, parse_name};
use crate::output::ListOutput;

/// Record, list and void the consents of a ledger, or of the control server of WXSUB_SERVER and WXSUB_KEY.
#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    Record(record::Record),
    List(List),
    Void(Void),
    Import(import::Import),
}

impl Grant {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Record(record) => record.run().await,
            Self::List(list) => list.run().await,
            Self::Void(void) => void.run().await,
            Self::Import(import) => import.run().await,
        }
    }
}

/// List the grants of a user, or of all users in one state, oldest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    outbox: OutboxFlags,
    /// OpenID of the user
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true, required_unless_present = "state")]
    to: Option<String>,
    /// Grants in this state
    #[arg(long, value_name = "STATE", conflicts_with = "to", value_parser = parse_name!(GrantState))]
    state: Option<GrantState>,
    /// Only grants after this one
    #[arg(long, value_name = "ID", requires = "state", conflicts_with = "to")]
    after: Option<GrantId>,
    /// At most this many grants [default: all]
    #[arg(long, value_name = "N", requires = "state", conflicts_with = "to")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let openid = UsageErrors::check(|usage| Some(usage.optional("--to", self.to.as_deref())))?;
        let appid = self.outbox.appid()?;
        let access = self.outbox.read().await?;
        let header = row(["ID", "STATE", "CONSENTED", "SCENE", "USER", "TEMPLATE"]);
        let mut output = ListOutput::new(self.json, "grants", header);
        match (openid, self.state, &access) {
            (Some(openid), ..) => output.write(&access.grants(&appid, &openid).await?.grants, line),
            (None, Some(_), OutboxAccess::Server(_)) => return Err(needs_ledger("--state")),
            (None, Some(state), OutboxAccess::Ledger(ledger)) => {
                let limit =
                    self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                let mut after = self.after;
                loop {
                    let max = (limit - output.count()).min(PAGE_SIZE);
                    let grants = ledger.grants_in_state(&appid, state, after, max).await?;
                    output.write(&GrantList::new(&grants).grants, line);
                    // Nothing more is read for a pipe that is closed.
                    if grants.len() < max || output.count() >= limit || output.is_broken() {
                        break;
                    }
                    after = grants.last().map(|grant| grant.id);
                }
            }
            (None, None, _) => {}
        }
        Ok(output.end(None::<GrantId>))
    }
}

fn line(grant: &GrantView) -> String {
    let GrantView { id, state, consented_at, scene, openid, template_id, .. } = grant;
    let (id, at, scene) = (id.to_string(), rfc3339::format(*consented_at), scene.to_string());
    row([&id, state.as_str(), &at, &scene, openid.as_str(), template_id.as_str()])
}

fn row([id, state, at, scene, user, template]: [&str; 6]) -> String {
    format!("{id:36}  {state:10}  {at:24}  {scene:>5}  {user:28}  {template}")
}

/// Void an open grant, or one in doubt that no message has.
#[derive(Debug, Args)]
pub(crate) struct Void {
    /// Id of the grant
    id: GrantId,
    #[command(flatten)]
    outbox: OutboxFlags,
}

impl Void {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let is_void = match self.outbox.write().await? {
            OutboxAccess::Ledger(ledger) => {
                let change = Change::VoidGrant { grant: self.id, appid: None };
                commit::<Option<StoredGrant>>(&*ledger, change).await?.is_some()
            }
            OutboxAccess::Server(server) => match server.void_grant(&self.outbox.appid()?, self.id).await {
                Ok(()) => true,
                Err(error) if error.kind() == Some(ProblemKind::NotFound) => false,
                Err(error) => return Err(error.into()),
            },
        };
        if is_void {
            console::note(localized!("void", "已作废"));
            return Ok(ExitStatus::Success);
        }
        let text = localized!(
            "the grant was not voided: there is none with this id, or a message has it or used it; look at \
             `wxsub grant list`",
            "没有作废授权：没有这个 id 的授权，或有消息占用或已使用它；请查看 `wxsub grant list`"
        );
        Err(CliError::new(ExitStatus::Refused, text))
    }
}
