//! `wxsub outbox decide`: shows what is known of a message that may have been sent, and what each choice leads to.

use std::io::{BufRead, IsTerminal, stdin};

use clap::Args;
use wxsub_core::rfc3339;
use wxsub_outbox::id::{IdGenerator, MessageId};
use wxsub_outbox::ledger::{Change, MessageQuery, NewDecision, NotDecided};
use wxsub_outbox::message::{NotDecidable, StoredMessage};
use wxsub_outbox::state::{Decision, EventKind, GrantState, Reason};
use wxsub_outbox::view::{GrantView, MessageView};

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::ledger_file::{commit, now, operator};
use crate::outbox_access::{OutboxAccess, OutboxFlags, PAGE_SIZE, parse_name};

/// Decide a message that may have been sent.
///
/// Prints what is known of it and what each decision leads to. At a terminal it asks; elsewhere give --decision and --yes.
#[derive(Debug, Args)]
pub(crate) struct Decide {
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
            Some(id) => vec![access.message(id, &self.outbox).await?],
            None => self.restored(&access).await?,
        };
        match messages.as_slice() {
            [] => {
                console::note(localized!(
                    "no undecided message is from a restored backup",
                    "没有来自备份恢复的待裁定消息"
                ));
                return Ok(ExitStatus::Success);
            }
            [message] => {
                explain(message, &access).await?;
                if !message.is_undecided() {
                    let why = message.decision.map_or(NotDecidable::NotUndecided, |_| NotDecidable::Decided);
                    return Err(not_decided(message, &why.into()));
                }
            }
            messages => explain_restored(messages),
        }
        let Some(decision) = self.choose()? else {
            console::note(localized!("nothing was decided", "没有裁定"));
            return Ok(ExitStatus::Success);
        };
        for message in &messages {
            let child = self.decide(message, decision, &access).await?;
            let id = message.id;
            match child {
                None => console::note(localized!(
                    "message {id}: decided, {decision}",
                    "消息 {id}：已裁定为 {decision}"
                )),
                Some(child) => console::note(localized!(
                    "message {id}: decided, {decision}; message {child} is queued in its place",
                    "消息 {id}：已裁定为 {decision}；代替它的消息 {child} 已加入队列"
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
            return Err(CliError::usage(text));
        }
        match self.decision {
            Some(decision) => {
                console::note(localized!(
                    "type {decision} to confirm, or nothing to leave it:",
                    "输入 {decision} 确认，直接回车则不裁定："
                ));
            }
            None => console::note(localized!(
                "type assume_sent, give_up or send_again, or nothing to leave it:",
                "输入 assume_sent、give_up 或 send_again，直接回车则不裁定："
            )),
        }
        let mut typed = String::new();
        stdin().lock().read_line(&mut typed).map_err(CliError::unexpected)?;
        let typed = typed.trim();
        if typed.is_empty() {
            return Ok(None);
        }
        let typed: Decision = typed.parse().map_err(|_| {
            CliError::usage(localized!(
                "decision: must be assume_sent, give_up or send_again",
                "裁定：必须是 assume_sent、give_up 或 send_again"
            ))
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
            OutboxAccess::Server(server) => {
                let MessageView { appid, id, version, .. } = message;
                let decided = server.decide(appid, *id, decision, &self.note, *version).await?;
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
        let decided: Result<(StoredMessage, Option<StoredMessage>), NotDecided> =
            commit(&**ledger, Change::Decide(Box::new(new))).await?;
        let (_, child) = decided.map_err(|why| not_decided(message, &why))?;
        Ok(child.map(|child| child.id))
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
        Some(openid) => access.grants(&message.appid, openid).await?.grants,
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

/// A grant that was recorded after that of the message; after the message, if it has none.
fn newer_grant<'a>(message: &MessageView, grants: &'a [GrantView]) -> Option<&'a GrantView> {
    grants.last().filter(|newest| match message.grant {
        Some(own) => newest.id != own,
        None => newest.consented_at > message.created_at,
    })
}

fn evidence(message: &MessageView, grants: &[GrantView]) -> Vec<String> {
    let user = message.touser.as_ref().map_or("", |user| user.as_str());
    let template = message.template_id.as_ref().map_or("", |template| template.as_str());
    let scene = message.scene.map(|scene| scene.to_string()).unwrap_or_default();
    let MessageView { id, state, attempt, .. } = message;
    let mut lines = vec![
        localized!(
            "message {id}: {state}, to {user}, template {template}, scene {scene}",
            "消息 {id}：{state}，接收者 {user}，模板 {template}，scene {scene}"
        ),
        why_undecided(message),
    ];
    if let Some(stage) = message.stage {
        lines.push(localized!("stage: {stage}", "步骤：{stage}"));
    }
    if let Some(at) = message.attempted_at.map(rfc3339::format) {
        lines.push(localized!("attempt {attempt} began at {at}", "第 {attempt} 次尝试开始于 {at}"));
    }
    lines.push(match own_grant(message, grants) {
        Some(GrantView { id, state, .. }) => localized!("grant: {id}, {state}", "授权：{id}，{state}"),
        None => localized!("grant: none", "授权：没有"),
    });
    lines.push(match newer_grant(message, grants) {
        Some(GrantView { consented_at, state, .. }) => {
            let at = rfc3339::format(*consented_at);
            localized!("newer consent: recorded at {at}, {state}", "更新的授权：登记于 {at}，{state}")
        }
        None => localized!("newer consent: none", "更新的授权：没有"),
    });
    if message.is_undecided() && now() < message.decidable_at() {
        let at = rfc3339::format(message.decidable_at());
        lines.push(localized!(
            "a stopped process may still post it; it can be decided from {at} on",
            "被挂起的进程可能仍会发出；{at} 之后才能裁定"
        ));
    }
    if let Some(decision) = message.decision {
        let by = message.decided_by.as_deref().unwrap_or_default();
        let at = message.last_event(EventKind::Decided);
        lines.push(match at.map(|event| rfc3339::format(event.at)) {
            Some(at) => localized!("decided: {decision} by {by} at {at}", "已裁定：{decision}，{by}，{at}"),
            None => localized!("decided: {decision} by {by}", "已裁定：{decision}，{by}"),
        });
    }
    lines
}

/// How the message became one that may have been sent.
fn why_undecided(message: &MessageView) -> String {
    match message.reason {
        Some(Reason::WorkerLost) => localized!(
            "evidence: the process that was sending it ended before it recorded a response",
            "依据：发送它的进程在记下响应之前就结束了"
        ),
        Some(Reason::ResponseLost) => match &message.errmsg {
            Some(what) => localized!(
                "evidence: it was posted, and the response is lost: {what}",
                "依据：请求已发出，但没有收到微信的响应：{what}"
            ),
            None => localized!(
                "evidence: it was posted, and the response is lost: no response",
                "依据：请求已发出，但没有收到微信的响应"
            ),
        },
        Some(Reason::Restored) => localized!(
            "evidence: a backup was restored in which it was not final; what happened since is unknown",
            "依据：它来自恢复的备份，备份时尚未结束；备份之后是否发送过未知"
        ),
        _ => localized!("evidence: none", "依据：没有"),
    }
}

fn consequences(message: &MessageView, grants: &[GrantView]) -> [String; 3] {
    let grant = own_grant(message, grants);
    let (used, void) = match grant {
        Some(_) => (
            localized!("; its grant is used", "；授权记为已使用"),
            localized!("; its grant is void", "；授权作废"),
        ),
        None => (String::new(), String::new()),
    };
    let newer_open = newer_grant(message, grants).is_some_and(|newer| newer.state == GrantState::Open);
    let again = match (newer_open, grant) {
        (true, _) => localized!(
            ", with the newer consent; if the first one arrived, the user gets two messages",
            "，使用更新的授权；如果第一条已送达，用户会收到两条"
        ),
        (false, Some(_)) => localized!(
            ", with the same consent; if the first one arrived, Weixin refuses it (43101), or the user gets two messages",
            "，使用同一授权；如果第一条已送达，微信会以 43101 拒绝第二条，或者用户收到两条"
        ),
        (false, None) => localized!(
            "; if the first one arrived, the user gets two messages",
            "；如果第一条已送达，用户会收到两条"
        ),
    };
    [
        localized!(
            "assume_sent: it counts as sent and is not sent again{used}",
            "assume_sent：视为已发出，不再发送{used}"
        ),
        localized!(
            "give_up: it is not sent again, whether it arrived or not{void}",
            "give_up：无论是否送达，都不再发送{void}"
        ),
        localized!(
            "send_again: a new message is queued in its place{again}",
            "send_again：加入一条新消息代替它{again}"
        ),
    ]
}

fn explain_restored(messages: &[MessageView]) {
    let count = messages.len();
    console::note(localized!(
        "messages that were not final in the backup that was restored, and may have been sent since: {count}",
        "恢复的备份中尚未结束、备份之后可能已发出的消息：{count} 条"
    ));
    for message in messages {
        let user = message.touser.as_ref().map_or("", |user| user.as_str());
        let id = message.id;
        console::note(localized!("message {id}, to {user}", "消息 {id}，接收者 {user}"));
    }
    console::note(localized!(
        "assume_sent: they count as sent and are not sent again; their grants are used",
        "assume_sent：视为已发出，不再发送；授权记为已使用"
    ));
    console::note(localized!(
        "give_up: they are not sent again, whether they arrived or not; their grants are void",
        "give_up：无论是否送达，都不再发送；授权作废"
    ));
    console::note(localized!(
        "send_again: a new message is queued for each; users may get two messages",
        "send_again：为每条加入一条新消息；用户可能收到两条"
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The time and the ids count up.
    fn grant(number: u8) -> GrantView {
        let id = format!("0190c2a0-0000-7000-8000-00000000000{number}");
        let consented_at = format!("2026-05-0{number}T00:00:00Z");
        let grant = json!({"id": id, "appid": "wx1", "openid": "o", "template_id": "T", "scene": "7", "state": "open",
            "consented_at": consented_at});
        serde_json::from_value(grant).unwrap()
    }

    /// Recorded between the second and the third.
    fn message(grant: Option<&GrantView>) -> MessageView {
        let at = "2026-05-02T12:00:00Z";
        let message = json!({"id": "0190c2a0-0000-7000-8000-00000000000f", "appid": "wx1", "state": "maybe_sent",
            "attempt": 1, "failures": 0, "version": 3, "created_at": at, "send_at": at, "expires_at": at,
            "grant": grant.map(|grant| grant.id)});
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn newer_consent_is_after_that_of_the_message_or_after_the_message() {
        let all = [1, 2, 3].map(grant);
        let newer = |own: Option<usize>, count: usize| {
            let (grants, own) = (&all[..count], own.map(|own| &all[own]));
            newer_grant(&message(own), grants).map(|newer| newer.id)
        };
        assert_eq!([newer(None, 0), newer(None, 1), newer(None, 2)], [None; 3]);
        assert_eq!(newer(None, 3), Some(all[2].id));
        assert_eq!([newer(Some(0), 1), newer(Some(1), 2), newer(Some(2), 3)], [None; 3]);
        assert_eq!(newer(Some(0), 2), Some(all[1].id));
    }
}
