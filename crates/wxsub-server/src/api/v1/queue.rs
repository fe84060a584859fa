//! A message for the queue: how it is parsed, recorded and shown.

use serde_json::Value;
use wxsub_api::{FieldError, ProblemKind, SendResult, SendStatus};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::Priority;
use wxsub_outbox::view::MessageView;
use wxsub_outbox::{OutboxError, OutboxMessage};
use wxsub_proto::ValidationErrors;
use wxsub_proto::message::MessageDraft;

use super::ProblemResponse;
use super::ledger::OutboxClient;
use super::messages::INVALID_MESSAGE;
use crate::apps::current;

pub(super) fn with_key(message: OutboxMessage, key: Option<IdempotencyKey>) -> OutboxMessage {
    match key {
        Some(key) => message.idempotency_key(key),
        None => message,
    }
}

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

/// The view of a message. What it waits for is left out if the ledger does not tell now.
pub(super) async fn view(client: &OutboxClient, message: &StoredMessage) -> MessageView {
    let app = client.outbox.ledger().app(client.app.appid()).await.unwrap_or_default();
    MessageView::new(message, &app, client.now())
}

/// Parses a message with the members of the outbox. A line has its key in itself.
pub(super) fn parse_message(
    body: &[u8],
    is_line: bool,
) -> Result<(OutboxMessage, Option<IdempotencyKey>), ProblemResponse> {
    let mut draft = MessageDraft::from_json(body).map_err(|invalid| {
        let problems = ValidationErrors::from(invalid);
        ProblemResponse::new(ProblemKind::NotJson, problems.to_string())
            .with_result(SendResult::invalid(&MessageDraft::default(), &problems))
    })?;
    let mut problems = Vec::new();
    let mut member = |name| draft.remove(name).filter(|value| !value.is_null());
    let (send_at, expires_at) = (member("send_at"), member("expires_at"));
    let (priority, key) = (member("priority"), if is_line { member("idempotency_key") } else { None });
    let send_at = time("send_at", send_at, &mut problems);
    let expires_at = time("expires_at", expires_at, &mut problems);
    if expires_at.is_some_and(|end| send_at.is_some_and(|begin| end <= begin)) {
        problems.push(FieldError::new("expires_at", "must be later than send_at; no attempt could begin"));
    }
    let priority = match priority.as_ref().map(|text| text.as_str().and_then(|text| text.parse().ok())) {
        None => Priority::Normal,
        Some(Some(priority)) => priority,
        Some(None) => {
            problems.push(FieldError::new("priority", "must be high, normal or low"));
            Priority::Normal
        }
    };
    let key = key.and_then(|key| {
        let key = key.as_str().and_then(|text| IdempotencyKey::new(text).ok());
        if key.is_none() {
            let rule = "must have 1 to 255 visible ASCII characters; choose another key";
            problems.push(FieldError::new("idempotency_key", rule));
        }
        key
    });
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

fn time(name: &'static str, value: Option<Value>, problems: &mut Vec<FieldError>) -> Option<UnixMillis> {
    let parsed = value?.as_str().and_then(|text| rfc3339::parse(text).ok());
    if parsed.is_none() {
        problems.push(FieldError::new(name, "must be a time like 2027-01-31T12:00:00+08:00"));
    }
    parsed
}
