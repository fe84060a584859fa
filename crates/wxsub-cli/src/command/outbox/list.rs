//! `wxsub outbox list` and `show`.

use std::collections::BTreeMap;

use clap::Args;
use wxsub_core::rfc3339;
use wxsub_outbox::app::{OperatorPause, Pauses};
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::view::{AppView, EventView, MessageView};
use wxsub_proto::{AppId, OpenId};

use crate::backend::has_appid;
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::now;
use crate::outbox_access::{OutboxAccess, OutboxFlags, PAGE_SIZE, parse_name, read_error};
use crate::output::{self, ListOutput, Output};

/// List the messages of an app, oldest first; of all apps of the ledger if none is named.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    outbox: OutboxFlags,
    /// Only messages in this state
    #[arg(long, value_name = "STATE", value_parser = parse_name!(MessageState))]
    state: Option<MessageState>,
    /// Only maybe_sent messages without a decision
    #[arg(long)]
    undecided: bool,
    /// Only messages to this user
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only messages after this one
    #[arg(long, value_name = "ID")]
    after: Option<MessageId>,
    /// At most this many messages [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print one JSON object: the messages, and the id after which the next page begins
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let openid = UsageErrors::check(|usage| Some(usage.optional("--to", self.to.as_deref())))?;
        let access = self.outbox.read().await?;
        let apps = self.apps(&access).await?;
        let limit = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let header = row(["ID", "STATE", "ATTEMPTS", "CREATED", "WHY", "UNTIL", "USER"]);
        let (mut output, mut last) = (ListOutput::new(self.json, "messages", header), None);
        for appid in apps {
            if !self.json
                && let OutboxAccess::Ledger(ledger) = &access
            {
                let app = ledger.app(&appid).await?;
                note_counts(&appid, &app.counts, app.undecided);
                note_pauses(&app.pauses);
            }
            let mut query = MessageQuery {
                state: self.state,
                undecided: self.undecided,
                openid: openid.clone(),
                after: self.after,
                ..MessageQuery::new(appid)
            };
            loop {
                query.limit = (limit - output.count()).min(PAGE_SIZE);
                let (page, next) = access.page(&query).await?;
                output.write(&page, line);
                last = page.last().map(|message| message.id);
                // Nothing more is read for a pipe that is closed.
                if next.is_none() || output.count() >= limit || output.is_broken() {
                    break;
                }
                query.after = next;
            }
        }
        let is_full = output.count() >= limit;
        Ok(output.end(last.filter(|_| is_full)))
    }

    /// The app that is named, or all apps of the ledger. A page is of one app.
    async fn apps(&self, access: &OutboxAccess) -> Result<Vec<AppId>, CliError> {
        if has_appid(self.outbox.appid.as_deref()) {
            return Ok(vec![self.outbox.appid()?]);
        }
        let apps = match access {
            OutboxAccess::Ledger(ledger) => ledger.apps().await?,
            OutboxAccess::Server(server) => {
                let apps = server.outbox_apps().await.map_err(|error| read_error(&error))?;
                for AppView { appid, counts, undecided, .. } in apps.iter().filter(|_| !self.json) {
                    note_counts(appid, counts, *undecided);
                }
                apps.into_iter().map(|app| app.appid).collect()
            }
        };
        if apps.len() > 1 && (self.limit.is_some() || self.after.is_some()) {
            let known = apps.iter().map(AppId::as_str).collect::<Vec<_>>().join(", ");
            let text = localized!(
                "--appid: is missing; --limit and --after count the messages of one app, and the ledger has {known}",
                "--appid：未填写；--limit 和 --after 针对一个应用的消息，而消息库中有 {known}"
            );
            return Err(CliError::usage(text));
        }
        Ok(apps)
    }
}

/// Says how many messages the app has.
fn note_counts(appid: &AppId, counts: &BTreeMap<MessageState, u64>, undecided: u64) {
    let counts: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = match counts.as_slice() {
        [] => localized!("no messages", "没有消息"),
        counts => counts.join(", "),
    };
    console::note(localized!(
        "app {appid}: {counts}, {undecided} undecided",
        "应用 {appid}：{counts}，{undecided} 条待裁定"
    ));
}

/// Says why the app waits.
fn note_pauses(pauses: &Pauses) {
    let now = now();
    if let Some(pause) = &pauses.operator {
        let OperatorPause { by, note, since } = pause;
        console::note(localized!(
            "paused by {by} since {since}: {note}",
            "{by} 自 {since} 起暂停：{note}",
            since = rfc3339::format(*since)
        ));
    }
    if let Some(quota) = pauses.daily_quota {
        console::note(localized!(
            "45009: the daily quota is used up; waits until {until}, and tries one message at {probe}",
            "45009：当日额度已用完；等到 {until}，并在 {probe} 试发一条",
            until = rfc3339::format(quota.until),
            probe = rfc3339::format(quota.next_probe_at)
        ));
    }
    if let Some(until) = pauses.minute_quota_until.filter(|until| *until > now) {
        console::note(localized!(
            "45011: too many calls; waits until {until}",
            "45011：调用过于频繁；等到 {until}",
            until = rfc3339::format(until)
        ));
    }
    if let Some(token) = pauses.token.filter(|token| token.until > now) {
        console::note(localized!(
            "no access token, {failures} times in a row; waits until {until}",
            "连续 {failures} 次没有拿到 access_token；等到 {until}",
            failures = token.failures,
            until = rfc3339::format(token.until)
        ));
    }
}

fn line(message: &MessageView) -> String {
    let why = match (&message.decision, message.reason, message.waiting_for, message.errcode) {
        (Some(decision), ..) => decision.to_string(),
        (_, _, Some(waiting_for), _) => format!("waits: {waiting_for}"),
        (_, Some(reason), ..) => reason.to_string(),
        (.., Some(code)) => code.to_string(),
        _ => String::new(),
    };
    row([
        &message.id.to_string(),
        message.state.as_str(),
        &message.attempt.to_string(),
        &rfc3339::format(message.created_at),
        &why,
        &message.waits_until.map(rfc3339::format).unwrap_or_default(),
        message.touser.as_ref().map_or("", OpenId::as_str),
    ])
}

fn row([id, state, attempts, created, why, until, user]: [&str; 7]) -> String {
    format!("{id:36}  {state:10}  {attempts:>8}  {created:24}  {why:17}  {until:24}  {user}")
        .trim_end()
        .to_owned()
}

/// Show a message with its history.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the message
    id: MessageId,
    #[command(flatten)]
    outbox: OutboxFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let view = self.outbox.read().await?.message(self.id, &self.outbox).await?;
        Ok(output::print(self.json, &view, |output| print(&view, output)))
    }
}

/// One member a line, and then one event a line.
fn print(view: &MessageView, output: &mut Output) {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(view) else { return };
    for (name, value) in members.iter().filter(|(name, _)| *name != "events") {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(format_args!("{name}: {text}"));
    }
    for EventView { at, event, attempt, actor, detail, .. } in view.events.iter().flatten() {
        let actor = actor.as_ref().map(|actor| format!(" by {actor}")).unwrap_or_default();
        let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        output.line(format_args!("{}  attempt {attempt}  {event}{actor}{detail}", rfc3339::format(*at)));
    }
}
