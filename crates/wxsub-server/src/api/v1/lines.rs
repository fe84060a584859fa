//! Many messages at once, one JSON object a line: each is recorded by itself, and has a result of its own.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use wxsub_api::{LineResult, ProblemKind};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::view::MessageView;

use super::ProblemResponse;
use super::ledger::OutboxClient;
use super::queue::{app, parse_message, record};
use crate::api::request::response;

/// The media type of lines.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Maximum size of all lines, in bytes.
pub(super) const MAX_LINES_BYTES: usize = 1 << 20;

/// Maximum number of lines.
const MAX_LINES: usize = 1_000;

/// Records the lines in their order. A line that is not recorded does not stop the others.
pub(super) async fn enqueue(
    client: &OutboxClient,
    header: Option<IdempotencyKey>,
    body: &Bytes,
) -> Result<Response, ProblemResponse> {
    if header.is_some() {
        let detail = "each line has an idempotency_key of its own; remove the header Idempotency-Key";
        return Err(ProblemResponse::new(ProblemKind::Invalid, detail).status(400));
    }
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let lines: Vec<_> = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
    if lines.len() > MAX_LINES {
        let detail = format!("the body has more than {MAX_LINES} lines; send fewer at once");
        return Err(ProblemResponse::new(ProblemKind::TooLarge, detail));
    }
    let _permit = client.context.try_acquire_permit()?;
    let recorded = join_all(lines.iter().map(|(_, line)| record_line(client, line))).await;
    let (app, now) = (app(client).await, client.now());
    let mut text = Vec::new();
    for ((index, _), recorded) in lines.into_iter().zip(recorded) {
        let viewed = recorded.map(|(message, replayed)| (MessageView::new(&message, &app, now), replayed));
        let result = line_result(index as u64 + 1, viewed);
        if serde_json::to_writer(&mut text, &result).is_ok() {
            text.push(b'\n');
        }
    }
    client.context.audit(|entry| entry.outcome = "ok");
    Ok(response(StatusCode::OK, MEDIA_TYPE, text))
}

fn line_result(line: u64, recorded: Result<(MessageView, bool), ProblemResponse>) -> LineResult<MessageView> {
    match recorded {
        Ok((message, replayed)) => {
            LineResult { line, status: 202, replayed, message: Some(message), problem: None }
        }
        Err(problem) => {
            let (status, problem) = (problem.problem.status, Some(problem.problem));
            LineResult { line, status, replayed: false, message: None, problem }
        }
    }
}

async fn record_line(client: &OutboxClient, text: &[u8]) -> Result<(StoredMessage, bool), ProblemResponse> {
    let (message, key) = parse_message(text, true)?;
    let key = key.ok_or_else(|| {
        let detail = "idempotency_key: is missing; give each line a key of its own";
        ProblemResponse::new(ProblemKind::KeyRequired, detail)
    })?;
    let recording = record(client, message.idempotency_key(key));
    let (message, replayed) = super::ledger::in_time(&client.context, recording).await?;
    client.context.state().metrics().record_enqueued(client.app.appid(), replayed);
    Ok((message, replayed))
}
