//! `wxsub outbox add`: records a message in the queue.

use clap::Args;
use wxsub_api::LineResult;
use wxsub_client::{ControlServer, OutboxLine, Schedule};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::Ledger;
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::idempotency::{Fingerprint, IdempotencyKey};
use wxsub_outbox::ledger::{Change, KeyKind, NewKey, NewMessage, NotRecorded, Recorded};
use wxsub_outbox::state::Priority;
use wxsub_outbox::view::MessageView;
use wxsub_proto::{AppId, Message};

use super::super::send::MessageFlags;
use crate::backend;
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::{commit, now, open_or_create};
use crate::outbox_access::{
    OutboxFlags, OutboxPlace, change_with_key_error, exit_of, needs_ledger, parse_name,
};
use crate::output::print;

/// Record a message in the queue, and print its id. `outbox run` or the control server sends it.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    outbox: OutboxFlags,
    /// Earliest time for the first attempt, such as 2026-06-01T12:00:00+08:00
    #[arg(long, value_name = "TIME", value_parser = rfc3339::parse)]
    send_at: Option<UnixMillis>,
    /// No attempt begins from then on [default: 7 days after --send-at]
    #[arg(long, value_name = "TIME", value_parser = rfc3339::parse)]
    expires_at: Option<UnixMillis>,
    /// Which of the due messages goes first
    #[arg(long, value_name = "P", default_value = "normal", value_parser = parse_name!(Priority))]
    priority: Priority,
    /// Idempotency key: the same command again records nothing
    #[arg(long, value_name = "KEY")]
    key: Option<IdempotencyKey>,
    /// Record the message only if there is an open grant for it
    #[arg(long)]
    require_grant: bool,
    /// Print the message as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    message: MessageFlags,
}

impl Add {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let appid = backend::appid(self.outbox.appid.as_deref(), &mut usage);
        let message = self.message.message(&mut usage)?;
        if self.expires_at.is_some_and(|end| self.send_at.is_some_and(|begin| end <= begin)) {
            usage.add(
                "--expires-at",
                localized!(
                    "must be later than --send-at; no attempt could begin",
                    "必须晚于 --send-at，否则不会有机会发送"
                ),
            );
        }
        let (appid, body) = usage.finish(appid.zip(message))?;
        let (message, is_replayed) = match self.outbox.place()? {
            OutboxPlace::Ledger(path) => self.record(&*open_or_create(path).await?, appid, body).await?,
            OutboxPlace::Server(server) => self.enqueue(&server, &appid, &body).await?,
        };
        if is_replayed {
            console::note(localized!(
                "recorded before under this key; nothing new was recorded",
                "之前已用该幂等键登记；没有重复登记"
            ));
        }
        Ok(print(self.json, &message, |output| output.line(message.id)))
    }

    /// Gives the message, and whether it was recorded before.
    async fn record(
        &self,
        ledger: &dyn Ledger,
        appid: AppId,
        body: Message,
    ) -> Result<(MessageView, bool), CliError> {
        let Self { send_at, expires_at, priority, require_grant, .. } = *self;
        let key = self.key.clone().map(|key| NewKey {
            client: String::new(),
            key,
            fingerprint: Fingerprint::new("outbox", &body, send_at, expires_at, priority),
            kind: KeyKind::Request,
        });
        let id = IdGenerator::new(None).message(now()).map_err(CliError::unexpected)?;
        let new =
            NewMessage { id, appid: appid.clone(), body, priority, send_at, expires_at, key, require_grant };
        let recorded: Result<Recorded, NotRecorded> = commit(ledger, Change::Enqueue(Box::new(new))).await?;
        let recorded = recorded?;
        let app = ledger.app(&appid).await?;
        let is_replayed = matches!(recorded, Recorded::Replayed(_));
        Ok((MessageView::new(recorded.message(), &app, now()), is_replayed))
    }

    /// The same at a control server.
    async fn enqueue(
        &self,
        server: &ControlServer,
        appid: &AppId,
        message: &Message,
    ) -> Result<(MessageView, bool), CliError> {
        if self.require_grant {
            return Err(needs_ledger("--require-grant"));
        }
        let schedule =
            Schedule { send_at: self.send_at, expires_at: self.expires_at, priority: Some(self.priority) };
        let Some(key) = &self.key else {
            return Ok((server.enqueue(appid, message, schedule, None).await?, false));
        };
        // The result of a line says whether it was recorded before.
        let line = OutboxLine { message, schedule, key };
        let results = server.enqueue_lines(appid, &[line]).await;
        let results = results.map_err(|error| change_with_key_error(&error))?;
        match results.into_iter().next() {
            Some(LineResult { message: Some(message), replayed, .. }) => Ok((message, replayed)),
            Some(LineResult { problem: Some(problem), .. }) => {
                Err(CliError::new(exit_of(&problem), problem.detail))
            }
            _ => Err(CliError::unexpected(localized!(
                "the control server gave no result for the message",
                "中控服务器没有返回该消息的结果"
            ))),
        }
    }
}
