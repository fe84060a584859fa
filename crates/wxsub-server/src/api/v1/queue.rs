//! A message for the queue: how it is parsed, recorded and shown.

use serde_json::Value;
use wxsub_api::{FieldError, ProblemKind, SendResult, SendStatus};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::Priority;
use wxsub_outbox::{OutboxError, OutboxMessage};

use super::ProblemResponse;
use super::ledger::OutboxClient;
use super::members::{Members, one_of};
use super::messages::{INVALID_MESSAGE, read_draft};
use crate::apps::current;

/// Records a message. Gives it, or that of its key, and whether it was recorded before.
pub(super) async fn record(
    client: &OutboxClient,
    message: OutboxMessage,
) -> Result<(StoredMessage, bool), OutboxError> {
    let receipt = client.outbox.enqueue(message).await?;
    let message = match receipt.replayed() {
        true => current(receipt.message(), &client.outbox).await,
        false => receipt.message().clone(),
    };
    Ok((message, receipt.replayed()))
}

/// The app of the client, for views of messages. What they wait for is left out if the ledger does not tell in time.
pub(super) async fn app(client: &OutboxClient) -> StoredApp {
    let read = client.outbox.ledger().app(client.app.appid());
    client.context.with_timeout(read).await.and_then(Result::ok).unwrap_or_default()
}

/// Parses a message with the members of the outbox. A line has its key in itself.
pub(super) fn parse_message(
    body: &[u8],
    is_line: bool,
) -> Result<(OutboxMessage, Option<IdempotencyKey>), ProblemResponse> {
    let mut draft = read_draft(body)?;
    let names = ["send_at", "expires_at", "priority", "idempotency_key"];
    let names = names.iter().take(if is_line { 4 } else { 3 });
    let mut own: Members = names.filter_map(|name| Some(((*name).to_owned(), draft.remove(name)?))).collect();
    let send_at = own.optional("send_at", time);
    let expires_at = own.optional("expires_at", time);
    if expires_at.is_some_and(|end| send_at.is_some_and(|begin| end <= begin)) {
        own.refuse("expires_at", "must be later than send_at; no attempt could begin");
    }
    let priority =
        own.optional("priority", one_of("must be high, normal or low")).unwrap_or(Priority::Normal);
    let key = own.optional("idempotency_key", key);
    let problems = own.into_problems();
    let body = match draft.validate() {
        Ok(body) if problems.is_empty() => body,
        validated => {
            let own = validated.err().map(|invalid| FieldError::list(&invalid)).unwrap_or_default();
            let mut result = SendResult::new(SendStatus::Invalid);
            (result.touser, result.template_id) = (draft.touser(), draft.template_id());
            result.scene = draft.scene();
            result.problems = own.into_iter().chain(problems).collect();
            return Err(ProblemResponse::new(ProblemKind::Invalid, INVALID_MESSAGE).with_result(result));
        }
    };
    let message = OutboxMessage::new(body).priority(priority);
    let message = send_at.into_iter().fold(message, OutboxMessage::send_at);
    Ok((expires_at.into_iter().fold(message, OutboxMessage::expires_at), key))
}

/// Reads a time.
fn time(value: &Value) -> Result<UnixMillis, String> {
    let time = value.as_str().and_then(|text| rfc3339::parse(text).ok());
    time.ok_or_else(|| "must be a time like 2027-01-31T12:00:00+08:00".to_owned())
}

/// Reads the idempotency key of a line.
fn key(value: &Value) -> Result<IdempotencyKey, String> {
    let key = value.as_str().and_then(|text| IdempotencyKey::new(text).ok());
    key.ok_or_else(|| "must have 1 to 255 visible ASCII characters; choose another key".to_owned())
}
