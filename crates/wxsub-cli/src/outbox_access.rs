//! Access to messages and grants: in a ledger, or at a control server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use wxsub_api::{Problem, ProblemExtensions, ProblemKind};
use wxsub_client::{ControlServer, ControlServerError, MessageFilter};
use wxsub_outbox::Ledger;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::view::{GrantList, MessageList, MessageView};
use wxsub_proto::{AppId, OpenId};

use crate::backend::ServerAccess;
use crate::describe::server_error;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::{localized, shown};
use crate::ledger_file::{ledger_place, now, open_existing, open_to_read};
use crate::{backend, environment};

/// Parses one of the names of an enum. The help and the error list them.
macro_rules! parse_name {
    ($name:ty) => {
        clap::builder::TypedValueParser::try_map(
            clap::builder::PossibleValuesParser::new(<$name>::ALL.iter().map(|value| value.as_str())),
            |name| name.parse::<$name>(),
        )
    };
}
pub(crate) use parse_name;

/// Maximum number of messages of one read.
pub(crate) const PAGE_SIZE: usize = 500;

/// The ledger or the control server, and the app that a command is about.
#[derive(Debug, Args)]
pub(crate) struct OutboxFlags {
    /// The ledger: a SQLite file, or postgres://USER@HOST/DATABASE [default: that of the control server WXSUB_SERVER]
    #[arg(long, value_name = "LEDGER", value_parser = ledger_place())]
    outbox: Option<PathBuf>,
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    pub(crate) appid: Option<String>,
}

/// Where messages and grants are: in a ledger, or in that of a control server.
pub(crate) enum OutboxPlace<L> {
    /// In this ledger.
    Ledger(L),
    /// In the ledger of this control server.
    Server(ControlServer),
}

/// A ledger that this process has opened, or a control server.
pub(crate) type OutboxAccess = OutboxPlace<Arc<dyn Ledger>>;

impl OutboxFlags {
    /// The app.
    pub(crate) fn appid(&self) -> Result<AppId, CliError> {
        UsageErrors::check(|usage| backend::appid(self.appid.as_deref(), usage))
    }

    /// The ledger, or the control server.
    pub(crate) fn place(&self) -> Result<OutboxPlace<&Path>, CliError> {
        if let Some(ledger) = &self.outbox {
            return Ok(OutboxPlace::Ledger(ledger));
        }
        if !environment::uses_control_server() {
            return Err(CliError::usage(localized!(
                "--outbox: is missing; name a ledger, or set WXSUB_SERVER and WXSUB_KEY for that of a control server",
                "--outbox：未填写；请指定消息库，或设置 WXSUB_SERVER 和 WXSUB_KEY 以使用中控服务器的消息库"
            )));
        }
        UsageErrors::check(ServerAccess::read).map(|access| OutboxPlace::Server(access.server))
    }

    /// Opens the ledger to read, also while another process writes.
    pub(crate) async fn read(&self) -> Result<OutboxAccess, CliError> {
        Ok(match self.place()? {
            OutboxPlace::Ledger(ledger) => OutboxAccess::Ledger(open_to_read(ledger).await?),
            OutboxPlace::Server(server) => OutboxAccess::Server(server),
        })
    }

    /// Opens the ledger to write: a file for this process alone.
    pub(crate) async fn write(&self) -> Result<OutboxAccess, CliError> {
        Ok(match self.place()? {
            OutboxPlace::Ledger(ledger) => OutboxAccess::Ledger(open_existing(ledger).await?),
            OutboxPlace::Server(server) => OutboxAccess::Server(server),
        })
    }
}

impl OutboxAccess {
    /// One message with its history. A control server finds it by its id and the app of the flags.
    pub(crate) async fn message(&self, id: MessageId, flags: &OutboxFlags) -> Result<MessageView, CliError> {
        let ledger = match self {
            Self::Server(server) => {
                return server.message(&flags.appid()?, id).await.map_err(|error| read_error(&error));
            }
            Self::Ledger(ledger) => ledger,
        };
        let Some(message) = ledger.message(id).await? else {
            let text = localized!(
                "message {id}: there is none with this id; `wxsub outbox list` lists all",
                "消息 {id}：没有这个 id 的消息；`wxsub outbox list` 会列出全部消息"
            );
            return Err(CliError::usage(text));
        };
        let history = ledger.history(id).await?;
        let app = ledger.app(&message.appid).await?;
        Ok(MessageView::new(&message, &app, now()).with_events(&history))
    }

    /// The messages of a page, and the last id if there may be a next page.
    pub(crate) async fn page(
        &self,
        query: &MessageQuery,
    ) -> Result<(Vec<MessageView>, Option<MessageId>), CliError> {
        match self {
            Self::Ledger(ledger) => {
                let app = ledger.app(&query.appid).await?;
                let page = ledger.messages(query).await?;
                let page = MessageList::new(&page, &app, query.limit, now());
                Ok((page.messages, page.next))
            }
            Self::Server(server) => {
                let MessageQuery { appid, state, openid, undecided, after, limit, .. } = query.clone();
                let limit = u32::try_from(limit).ok();
                let filter = MessageFilter { state, openid, undecided, after, limit };
                let page = server.messages(&appid, &filter).await.map_err(|error| read_error(&error))?;
                Ok((page.messages, page.next))
            }
        }
    }

    /// The grants of one user, oldest first.
    pub(crate) async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<GrantList, CliError> {
        Ok(match self {
            Self::Ledger(ledger) => GrantList::new(&ledger.grants(appid, openid).await?),
            Self::Server(server) => server.grants(appid, openid).await.map_err(|error| read_error(&error))?,
        })
    }
}

/// The error of a change of messages and grants. Its exit status is that of the same command on a ledger.
impl From<ControlServerError> for CliError {
    fn from(error: ControlServerError) -> Self {
        let next = localized!("look at the list before you repeat the command", "请先查看列表再重复命令");
        change_error(&error, &next)
    }
}

/// The error of a change that may be repeated, because its flag --key was given.
pub(crate) fn change_with_key_error(error: &ControlServerError) -> CliError {
    let next = localized!("repeat the command with the same --key", "请用同一个 --key 重复命令");
    change_error(error, &next)
}

/// The error of a change. `next` is what to do if it may have been made.
pub(crate) fn change_error(error: &ControlServerError, next: &str) -> CliError {
    if !error.may_have_taken_effect() {
        return read_error(error);
    }
    let text = shown(&error.localized());
    let text = localized!("{text}; it may have taken effect: {next}", "{text}；操作可能已生效：{next}");
    CliError::new(ExitStatus::MaybeSent, text)
}

/// The error of a call without effect.
pub(crate) fn read_error(error: &ControlServerError) -> CliError {
    match error {
        ControlServerError::Problem { problem: Some(problem), .. } => match exit_of(problem) {
            ExitStatus::NotSent => server_error(error, ExitStatus::NotSent),
            // The text of the server says what to do.
            exit => CliError::new(exit, shown(&error.localized())),
        },
        _ => server_error(error, ExitStatus::NotSent),
    }
}

/// The exit status for a problem of the server.
pub(crate) fn exit_of(problem: &Problem) -> ExitStatus {
    match problem.kind {
        _ if matches!(*problem.extensions, ProblemExtensions::Unrecorded { .. }) => ExitStatus::MaybeSent,
        ProblemKind::Attempting => ExitStatus::MaybeSent,
        ProblemKind::Cancelled
        | ProblemKind::Decided
        | ProblemKind::Final
        | ProblemKind::GrantUnavailable
        | ProblemKind::NoGrant
        | ProblemKind::NotUndecided
        | ProblemKind::PreconditionFailed
        | ProblemKind::TooEarly => ExitStatus::Refused,
        ProblemKind::ConsentExpired
        | ProblemKind::ConsentForged
        | ProblemKind::Invalid
        | ProblemKind::KeyRequired
        | ProblemKind::KeyReused
        | ProblemKind::NoConsentKey
        | ProblemKind::NoLedger
        | ProblemKind::NotFound
        | ProblemKind::NotJson
        | ProblemKind::TooLarge => ExitStatus::Usage,
        _ => ExitStatus::NotSent,
    }
}

/// The error for a flag that has an effect on a ledger only.
pub(crate) fn needs_ledger(flag: &str) -> CliError {
    let text = localized!(
        "{flag}: has an effect only with --outbox; remove it for a control server",
        "{flag}：只有使用 --outbox 时才起作用；使用中控服务器时请删除"
    );
    CliError::usage(text)
}
