//! `wxsub outbox decide`: shows what is known of a message that may have been sent, and what each choice leads to.

use std::io::{BufRead, IsTerminal, stdin};

use clap::Args;
use wxsub_core::rfc3339;
use wxsub_outbox::evidence::Evidence;
use wxsub_outbox::id::{IdGenerator, MessageId};
use wxsub_outbox::ledger::{Change, MessageQuery, NewDecision, NotDecided};
use wxsub_outbox::message::{NotDecidable, StoredMessage};
use wxsub_outbox::state::{Decision, EventKind, Reason};
use wxsub_outbox::view::{GrantView, MessageView};
use wxsub_proto::AppId;

use crate::console;
use crate::environment::operator;
use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::ledger_file::{commit, now};
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
        let shown = match self.id {
            Some(id) => Some(self.show(id, &access).await?),
            None => self.show_restored(&access).await?,
        };
        let Some(last) = shown else {
            console::note(localized!(
                "no undecided message is from a restored backup",
                "没有来自备份恢复的待裁定消息"
            ));
            return Ok(ExitStatus::Success);
        };
        let Some(decision) = self.choose()? else {
            console::note(localized!("nothing was decided", "没有裁定"));
            return Ok(ExitStatus::Success);
        };
        if self.restored {
            let mut restored = Restored::of(self.outbox.appid()?);
            while let Some(page) = restored.next_page(&access).await? {
                for message in page.iter().filter(|message| message.id <= last.id) {
                    self.decide(message, decision, &access).await?;
                }
            }
        } else {
            self.decide(&last, decision, &access).await?;
        }
        Ok(ExitStatus::Success)
    }

    /// Shows the message, which must be undecided.
    async fn show(&self, id: MessageId, access: &OutboxAccess) -> Result<MessageView, CliError> {
        let message = access.message(id, &self.outbox).await?;
        explain(&message, access).await?;
        if message.is_undecided() {
            return Ok(message);
        }
        let why = message.decision.map_or(NotDecidable::NotUndecided, |_| NotDecidable::Decided);
        Err(not_decided(&message, &why.into()))
    }

    /// Shows all messages of the app that a restored backup left undecided. Gives the last one.
    async fn show_restored(&self, access: &OutboxAccess) -> Result<Option<MessageView>, CliError> {
        let (mut restored, mut count, mut last) = (Restored::of(self.outbox.appid()?), 0, None);
        while let Some(page) = restored.next_page(access).await? {
            for message in page {
                let user = message.touser.as_ref().map_or("", |user| user.as_str());
                let id = message.id;
                console::note(localized!("message {id}, to {user}", "消息 {id}，接收者 {user}"));
                (count, last) = (count + 1, Some(message));
            }
        }
        match &last {
            Some(message) if count == 1 => explain(message, access).await?,
            Some(_) => explain_restored(count),
            None => {}
        }
        Ok(last)
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

    async fn decide(
        &self,
        message: &MessageView,
        decision: Decision,
        access: &OutboxAccess,
    ) -> Result<(), CliError> {
        let id = message.id;
        let child = match access {
            OutboxAccess::Ledger(ledger) => {
                let new = NewDecision {
                    message: id,
                    decision,
                    by: operator(),
                    note: self.note.clone(),
                    seen: Some(message.version),
                    child: IdGenerator::new(None).message(now()).map_err(CliError::unexpected)?,
                };
                let decided: Result<(StoredMessage, Option<StoredMessage>), NotDecided> =
                    commit(&**ledger, Change::Decide(Box::new(new))).await?;
                decided.map_err(|why| not_decided(message, &why))?.1.map(|child| child.id)
            }
            OutboxAccess::Server(server) => {
                let decided =
                    server.decide(&message.appid, id, decision, &self.note, message.version).await?;
                decided.child.map(|child| child.id)
            }
        };
        console::note(match child {
            None => localized!("message {id}: decided, {decision}", "消息 {id}：已裁定为 {decision}"),
            Some(child) => localized!(
                "message {id}: decided, {decision}; message {child} is queued in its place",
                "消息 {id}：已裁定为 {decision}；代替它的消息 {child} 已加入队列"
            ),
        });
        Ok(())
    }
}

/// The messages that a restored backup left undecided, a page at a time.
struct Restored(Option<MessageQuery>);

impl Restored {
    fn of(appid: AppId) -> Self {
        Self(Some(MessageQuery { undecided: true, limit: PAGE_SIZE, ..MessageQuery::new(appid) }))
    }

    async fn next_page(&mut self, access: &OutboxAccess) -> Result<Option<Vec<MessageView>>, CliError> {
        let Some(query) = &mut self.0 else { return Ok(None) };
        let (mut page, next) = access.page(query).await?;
        page.retain(|message| message.reason == Some(Reason::Restored));
        match next {
            Some(_) => query.after = next,
            None => self.0 = None,
        }
        Ok(Some(page))
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
    let grants = match &message.touser {
        Some(openid) => access.grants(&message.appid, openid).await?.grants,
        None => Vec::new(),
    };
    let evidence = Evidence::new(message.clone(), grants);
    describe(&evidence).iter().for_each(console::note);
    if message.is_undecided() {
        for decision in Decision::ALL {
            let consequence = shown(&evidence.consequence(*decision));
            console::note(localized!("{decision}: {consequence}", "{decision}：{consequence}"));
        }
    }
    Ok(())
}

fn describe(evidence: &Evidence) -> Vec<String> {
    let message = &evidence.message;
    let user = message.touser.as_ref().map_or("", |user| user.as_str());
    let template = message.template_id.as_ref().map_or("", |template| template.as_str());
    let scene = message.scene.map(|scene| scene.to_string()).unwrap_or_default();
    let MessageView { id, state, attempt, .. } = message;
    let cause = match (evidence.cause().as_ref().map(shown), &message.errmsg) {
        (Some(cause), Some(errmsg)) => localized!("{cause}: {errmsg}", "{cause}：{errmsg}"),
        (Some(cause), None) => cause.to_owned(),
        (None, _) => localized!("none", "没有"),
    };
    let mut lines = vec![
        localized!(
            "message {id}: {state}, to {user}, template {template}, scene {scene}",
            "消息 {id}：{state}，接收者 {user}，模板 {template}，scene {scene}"
        ),
        localized!("evidence: {cause}", "依据：{cause}"),
    ];
    if let Some(stage) = message.stage {
        lines.push(localized!("stage: {stage}", "步骤：{stage}"));
    }
    if let Some(at) = message.attempted_at.map(rfc3339::format) {
        lines.push(localized!("attempt {attempt} began at {at}", "第 {attempt} 次尝试开始于 {at}"));
    }
    lines.push(match &evidence.grant {
        Some(GrantView { id, state, .. }) => localized!("grant: {id}, {state}", "授权：{id}，{state}"),
        None => localized!("grant: none", "授权：没有"),
    });
    lines.push(match &evidence.newer_grant {
        Some(GrantView { consented_at, state, .. }) => {
            let at = rfc3339::format(*consented_at);
            localized!("newer consent: recorded at {at}, {state}", "更新的授权：登记于 {at}，{state}")
        }
        None => localized!("newer consent: none", "更新的授权：没有"),
    });
    if let Some(at) = message.decidable_at(now()).filter(|_| message.is_undecided()) {
        let at = rfc3339::format(at);
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

fn explain_restored(count: u64) {
    console::note(localized!(
        "messages that were not final in the backup that was restored, and may have been sent since: {count}",
        "恢复的备份中尚未结束、备份之后可能已发出的消息：{count} 条"
    ));
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
