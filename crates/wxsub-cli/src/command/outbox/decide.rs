//! `wxsub outbox decide`: shows what is known of a message that may have been sent, and what each choice leads to.

use std::io::{BufRead, IsTerminal, stdin};

use clap::Args;
use wxsub_core::rfc3339;
use wxsub_outbox::id::{IdGenerator, MessageId};
use wxsub_outbox::ledger::{Applied, Change, MessageQuery, NewDecision, NotDecided};
use wxsub_outbox::message::NotDecidable;
use wxsub_outbox::state::{Decision, EventKind, GrantState, Reason};
use wxsub_outbox::view::{GrantView, MessageView};

use crate::backend::ServerConfig;
use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::ledger_file::{commit, now, operator, unexpected};
use crate::outbox_access::{OutboxAccess, OutboxFlags, PAGE_SIZE, outbox_server_error, parse_name};

/// Decide a message that may have been sent.
///
/// Prints what is known of it and what each decision leads to. At a terminal it asks; elsewhere give --decision and --yes.
#[derive(Debug, Args)]
pub(super) struct Decide {
    /// Id of the message
    #[arg(required_unless_present = "restored", conflicts_with = "restored")]
    id: Option<MessageId>,
    #[command(flatten)]
    outbox: OutboxFlags,
    /// Decide all messages of the app that a restored backup left undecided
    #[arg(long)]
    restored: bool,
    /// What to decide
    #[arg(long, value_name = "D", value_parser = parse_name!(Decision))]
    decision: Option<Decision>,
    /// Reason, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Do not ask
    #[arg(long, requires = "decision")]
    yes: bool,
}

impl Decide {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let access = self.outbox.write().await?;
        let messages = match self.id {
            Some(id) => vec![access.message(id).await?],
            None => self.restored(&access).await?,
        };
        match messages.as_slice() {
            [] => {
                console::note("no undecided message is from a restored backup");
                return Ok(ExitStatus::Success);
            }
            [message] => {
                explain(message, &access).await?;
                if !message.is_undecided() {
                    return Err(not_decided(message, &not_decidable(message).into()));
                }
            }
            messages => explain_restored(messages),
        }
        let Some(decision) = self.choose()? else {
            console::note("nothing was decided");
            return Ok(ExitStatus::Success);
        };
        for message in &messages {
            let child = self.decide(message, decision, &access).await?;
            let id = message.id;
            match child {
                None => console::note(format_args!("message {id}: decided, {decision}")),
                Some(child) => console::note(format_args!(
                    "message {id}: decided, {decision}; message {child} is queued in its place"
                )),
            }
        }
        Ok(ExitStatus::Success)
    }

    /// All messages of the app that a restored backup left undecided.
    async fn restored(&self, access: &OutboxAccess) -> Result<Vec<MessageView>, CliError> {
        let mut query =
            MessageQuery { undecided: true, limit: PAGE_SIZE, ..MessageQuery::new(self.outbox.appid()?) };
        let mut restored = Vec::new();
        loop {
            let (page, next) = access.page(&query).await?;
            restored.extend(page.into_iter().filter(|message| message.reason == Some(Reason::Restored)));
            match next {
                Some(_) => query.after = next,
                None => return Ok(restored),
            }
        }
    }

    /// The decision: that of the flag, confirmed at the terminal unless `--yes` is given, or one that is typed.
    fn choose(&self) -> Result<Option<Decision>, CliError> {
        if let Some(decision) = self.decision.filter(|_| self.yes) {
            return Ok(Some(decision));
        }
        if !stdin().is_terminal() {
            let text = localized!(
                "this is no terminal, so nothing was asked; give --decision and --yes",
                "当前不是终端，无法询问；请加上 --decision 和 --yes"
            );
            return Err(CliError::new(ExitStatus::Usage, text));
        }
        match self.decision {
            Some(decision) => {
                console::note(format_args!("type {decision} to confirm, or nothing to leave it:"));
            }
            None => console::note("type assume_sent, give_up or send_again, or nothing to leave it:"),
        }
        let mut typed = String::new();
        stdin().lock().read_line(&mut typed).map_err(CliError::unexpected)?;
        let typed = typed.trim();
        if typed.is_empty() {
            return Ok(None);
        }
        let typed: Decision = typed.parse().map_err(|_| {
            let text = localized!(
                "decision: must be assume_sent, give_up or send_again",
                "裁定：必须是 assume_sent、give_up 或 send_again"
            );
            CliError::new(ExitStatus::Usage, text)
        })?;
        Ok(Some(typed).filter(|typed| self.decision.is_none_or(|given| given == *typed)))
    }

    /// Gives the id of the message that is queued in its place.
    async fn decide(
        &self,
        message: &MessageView,
        decision: Decision,
        access: &OutboxAccess,
    ) -> Result<Option<MessageId>, CliError> {
        let ledger = match access {
            OutboxAccess::Ledger(ledger) => ledger,
            OutboxAccess::Server(ServerConfig { server, .. }) => {
                let MessageView { appid, id, version, .. } = message;
                let decided = server.decide(appid, *id, decision, &self.note, *version).await;
                let decided = decided.map_err(|error| outbox_server_error(&error))?;
                return Ok(decided.child.map(|child| child.id));
            }
        };
        let new = NewDecision {
            message: message.id,
            decision,
            by: operator(),
            note: self.note.clone(),
            seen: Some(message.version),
            child: IdGenerator::new(None).message(now()).map_err(CliError::unexpected)?,
        };
        match commit(&**ledger, Change::Decide(Box::new(new))).await? {
            Applied::Decided(Ok((_, child))) => Ok(child.map(|child| child.id)),
            Applied::Decided(Err(why)) => Err(not_decided(message, &why)),
            other => Err(unexpected(&other)),
        }
    }
}

fn not_decidable(message: &MessageView) -> NotDecidable {
    match message.decision {
        Some(_) => NotDecidable::Decided,
        None => NotDecidable::NotUndecided,
    }
}

fn not_decided(message: &MessageView, why: &NotDecided) -> CliError {
    let exit = match why {
        NotDecided::NotFound => ExitStatus::Usage,
        _ => ExitStatus::Refused,
    };
    let (id, why) = (message.id, shown(&why.localized()));
    CliError::new(exit, localized!("message {id}: it was not decided: {why}", "消息 {id}：没有裁定：{why}"))
}

/// Prints the evidence, and the consequence of each choice.
async fn explain(message: &MessageView, access: &OutboxAccess) -> Result<(), CliError> {
    let mut grants = match &message.touser {
        Some(openid) => access.grants(&message.appid, openid).await?,
        None => Vec::new(),
    };
    grants.retain(|grant| {
        Some(&grant.template_id) == message.template_id.as_ref() && Some(grant.scene) == message.scene
    });
    evidence(message, &grants).iter().for_each(console::note);
    if message.is_undecided() {
        consequences(message, &grants).iter().for_each(console::note);
    }
    Ok(())
}

fn own_grant<'a>(message: &MessageView, grants: &'a [GrantView]) -> Option<&'a GrantView> {
    grants.iter().find(|grant| Some(grant.id) == message.grant)
}

/// A grant that was recorded after that of the message.
fn newer_grant<'a>(message: &MessageView, grants: &'a [GrantView]) -> Option<&'a GrantView> {
    grants.last().filter(|newest| Some(newest.id) != message.grant)
}

fn evidence(message: &MessageView, grants: &[GrantView]) -> Vec<String> {
    let user = message.touser.as_ref().map_or("", |user| user.as_str());
    let template = message.template_id.as_ref().map_or("", |template| template.as_str());
    let scene = message.scene.map(|scene| scene.to_string()).unwrap_or_default();
    let mut lines = vec![
        format!("message {}: {}, to {user}, template {template}, scene {scene}", message.id, message.state),
        match message.reason {
            Some(Reason::WorkerLost) => {
                "evidence: the process that was sending it ended before it recorded a response".to_owned()
            }
            Some(Reason::ResponseLost) => {
                let what = message.errmsg.as_deref().unwrap_or("no response");
                format!("evidence: it was posted, and the response is lost: {what}")
            }
            Some(Reason::Restored) => {
                "evidence: a backup was restored in which it was not final; what happened since is unknown"
                    .to_owned()
            }
            _ => "evidence: none".to_owned(),
        },
    ];
    if let Some(stage) = message.stage {
        lines.push(format!("stage: {stage}"));
    }
    if let Some(at) = message.attempted_at {
        lines.push(format!("attempt {} began at {}", message.attempt, rfc3339::format(at)));
    }
    lines.push(match own_grant(message, grants) {
        Some(grant) => format!("grant: {}, {}", grant.id, grant.state),
        None => "grant: none".to_owned(),
    });
    lines.push(match newer_grant(message, grants) {
        Some(newer) => {
            format!("newer consent: recorded at {}, {}", rfc3339::format(newer.consented_at), newer.state)
        }
        None => "newer consent: none".to_owned(),
    });
    if message.is_undecided() && now() < message.decidable_at() {
        let at = rfc3339::format(message.decidable_at());
        lines.push(format!("a stopped process may still post it; it can be decided from {at} on"));
    }
    if let Some(decision) = message.decision {
        let by = message.decided_by.as_deref().unwrap_or_default();
        let at = message.last_event(EventKind::Decided);
        let at = at.map(|event| format!(" at {}", rfc3339::format(event.at))).unwrap_or_default();
        lines.push(format!("decided: {decision} by {by}{at}"));
    }
    lines
}

fn consequences(message: &MessageView, grants: &[GrantView]) -> [String; 3] {
    let grant = own_grant(message, grants);
    let (used, void) = match grant {
        Some(_) => ("; its grant is used", "; its grant is void"),
        None => ("", ""),
    };
    let newer_open = newer_grant(message, grants).is_some_and(|newer| newer.state == GrantState::Open);
    let again = match (newer_open, grant) {
        (true, _) => ", with the newer consent; if the first one arrived, the user gets two messages",
        (false, Some(_)) => {
            ", with the same consent; if the first one arrived, Weixin refuses it (43101), or the user gets two messages"
        }
        (false, None) => "; if the first one arrived, the user gets two messages",
    };
    [
        format!("assume_sent: it counts as sent and is not sent again{used}"),
        format!("give_up: it is not sent again, whether it arrived or not{void}"),
        format!("send_again: a new message is queued in its place{again}"),
    ]
}

fn explain_restored(messages: &[MessageView]) {
    console::note(format_args!(
        "messages that were not final in the backup that was restored, and may have been sent since: {}",
        messages.len()
    ));
    for message in messages {
        let user = message.touser.as_ref().map_or("", |user| user.as_str());
        console::note(format_args!("message {}, to {user}", message.id));
    }
    console::note("assume_sent: they count as sent and are not sent again; their grants are used");
    console::note("give_up: they are not sent again, whether they arrived or not; their grants are void");
    console::note("send_again: a new message is queued for each; users may get two messages");
}
