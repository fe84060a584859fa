//! The lines of a durable batch: their keys, and their results in the ledger.

use std::collections::HashMap;
use std::io::{self, BufReader};

use serde_json::Value;
use tokio::sync::mpsc;
use wxsub_api::{FieldError, SendResult, SendStage, SendStatus};
use wxsub_outbox::InvalidLine;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::idempotency::{Fingerprint, IdempotencyKey};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{MessageState, Reason};
use wxsub_proto::{ApiError, LocalizedText, Message, Operation, localized_text};
use wxsub_server::stored_send;

use super::deliver::SendReport;
use crate::describe::describe_refusal;
use crate::error::CliError;
use crate::input::{Input, Line, LineReader};
use crate::language::{localized, shown};
use crate::line_checker::{InvalidMessage, LineChecker};

/// Number of lines that are read ahead.
const READ_AHEAD: usize = 64;

/// A line to record.
pub(super) struct DurableLine {
    pub(super) number: u64,
    pub(super) id: Option<Value>,
    pub(super) key: IdempotencyKey,
    pub(super) content: Content,
}

pub(super) enum Content {
    Message(Message),
    Invalid {
        text: Vec<u8>,
        invalid: InvalidMessage,
    },
    /// Its id is that of an earlier line. It is not recorded.
    RepeatedId(SendReport),
}

/// Reads the lines in a thread of its own.
pub(super) fn read_lines(input: Input) -> mpsc::Receiver<io::Result<DurableLine>> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    // A detached thread, so that an endless input does not block the exit of the process.
    std::thread::spawn(move || {
        let (mut checker, mut keys) = (LineChecker::default(), HashMap::new());
        for line in LineReader::new(BufReader::new(input.bytes)) {
            let line = line.and_then(|line| durable_line(&mut checker, &mut keys, line));
            // The send fails after the end of the batch.
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn durable_line(
    checker: &mut LineChecker,
    keys: &mut HashMap<IdempotencyKey, u64>,
    line: Line,
) -> io::Result<DurableLine> {
    let checked = checker.check(&line);
    let (number, id, text) = (checked.number, checked.id, line.text.unwrap_or_default());
    let key = match (&id, &checked.message) {
        (Some(id), _) => key_of_id(id),
        (None, Ok(message)) => digest("sha256", &message.to_json()),
        (None, Err(_)) => digest("line-sha256", &text),
    };
    let key = key.map_err(io::Error::other)?;
    let first = *keys.entry(key.clone()).or_insert(number);
    let content = match checked.message {
        // Of two equal lines, the second breaks the rule of one message for each consent.
        _ if first != number && id.is_some() => Content::RepeatedId(invalid_id(&localized_text!(
            "is the id of line {first}, too; give each line its own",
            "与第 {first} 行相同；请给每行不同的 id"
        ))),
        Ok(message) => Content::Message(message),
        Err(invalid) => Content::Invalid { text, invalid },
    };
    Ok(DurableLine { number, id, key, content })
}

/// An id that is a number is the same as one that is its text.
fn key_of_id(id: &Value) -> Result<IdempotencyKey, wxsub_outbox::idempotency::InvalidKey> {
    let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    IdempotencyKey::new(format!("id:{text}")).or_else(|_| digest("id-sha256", text.as_bytes()))
}

fn digest(kind: &str, bytes: &[u8]) -> Result<IdempotencyKey, wxsub_outbox::idempotency::InvalidKey> {
    IdempotencyKey::new(format!("{kind}:{}", Fingerprint::of_bytes(bytes)))
}

/// The report of a line whose content has changed, while the message of its id may still arrive.
pub(super) fn key_reused(message: &Message, earlier: MessageId) -> SendReport {
    let mut report = invalid_id(&localized_text!(
        "key_reused: message {earlier} was recorded under this id with another content, and is sent or may be; \
         give the line another id, or its content of before",
        "key_reused：该 id 已用于内容不同的消息 {earlier}，它已发出或可能已发出；请换一个 id，或恢复原来的内容"
    ));
    let grant = message.grant();
    report.result.touser = Some(grant.openid().clone());
    report.result.template_id = Some(grant.template_id().clone());
    report.result.scene = Some(grant.scene());
    report
}

fn invalid_id(rule: &LocalizedText<String>) -> SendReport {
    let description = localized!("id: {rule}", "id：{rule}", rule = shown(rule));
    let mut result = SendResult::new(SendStatus::Invalid);
    // A result has the English text, as all results do.
    result.problems = vec![FieldError::new("id", rule.to_string())];
    SendReport::new(result, Some(description))
}

/// What is recorded of an invalid line.
pub(super) fn invalid_line(invalid: &InvalidMessage) -> InvalidLine {
    let SendResult { touser, template_id, scene, .. } = &invalid.result;
    InvalidLine {
        touser: touser.clone(),
        template_id: template_id.clone(),
        scene: *scene,
        problems: invalid.problems.to_string(),
    }
}

/// What the ledger has of a message, as the result of its line.
pub(super) fn report(message: &StoredMessage) -> SendReport {
    let result = stored_send(message);
    let operation = result.stage.and_then(SendStage::operation);
    SendReport::new(result, describe(message, operation))
}

fn describe(message: &StoredMessage, operation: Option<Operation>) -> Option<String> {
    let text = message.detail.errmsg.as_deref().unwrap_or_default();
    let cause = match message.detail.errcode {
        Some(code) => describe_refusal(&ApiError::new(code, text), operation.unwrap_or(Operation::Send)),
        None => text.to_owned(),
    };
    match (message.state, message.reason) {
        (MessageState::Sent, _) => None,
        (MessageState::Cancelled, _) => Some(localized!("it was cancelled", "已取消")),
        (MessageState::NotSent, Some(reason @ (Reason::Expired | Reason::Failures))) => {
            Some(localized!("{reason}: {cause}", "{reason}：{cause}"))
        }
        _ => Some(cause),
    }
}

/// The error for an input that ends early.
pub(super) fn unreadable(path: &std::path::Path, error: &io::Error, recorded: usize) -> CliError {
    CliError::usage(localized!(
        "{path} cannot be read to its end: {error}; {recorded} lines were recorded and nothing was posted; \
         run the command again",
        "{path} 没有读到末尾：{error}；已登记 {recorded} 行，没有发出任何消息；请重新运行该命令",
        path = path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<(String, &'static str)> {
        let (mut checker, mut keys) = (LineChecker::default(), HashMap::new());
        let lines = LineReader::new(text.as_bytes());
        let lines = lines.map(|line| durable_line(&mut checker, &mut keys, line.unwrap()).unwrap());
        let content = |content: &Content| match content {
            Content::Message(_) => "message",
            Content::Invalid { .. } => "invalid",
            Content::RepeatedId(_) => "repeated",
        };
        lines.map(|line| (line.key.to_string(), content(&line.content))).collect()
    }

    fn line(user: &str, more: &str) -> String {
        format!(
            r#"{{"touser":"{user}","template_id":"T","scene":1,"title":"t","data":{{"content":{{"value":"v"}}}}{more}}}"#
        )
    }

    #[test]
    fn id_else_content_is_the_key() {
        let (spaced, nothing) = (
            r#"{"touser":"a" , "template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
            "{}",
        );
        let found = [line("a", ""), spaced.to_owned(), nothing.to_owned(), line("b", r#","id":"order 7""#)];
        let found: Vec<_> = found.iter().flat_map(|line| keys(line)).collect();
        assert_eq!(found[0], found[1], "spaces and the type of a scene do not matter");
        assert!(found[0].0.starts_with("sha256:") && found[2].0.starts_with("line-sha256:"), "{found:?}");
        assert!(found[3].0.starts_with("id-sha256:"), "{found:?}");
        assert_eq!(keys(&line("a", r#","id":"order-7""#)), [("id:order-7".to_owned(), "message")]);
    }

    #[test]
    fn second_line_of_an_id_is_not_recorded() {
        let text = [line("a", r#","id":7"#), line("b", r#","id":"7""#), line("c", ""), line("c", "")];
        let content: Vec<_> = keys(&text.join("\n")).into_iter().map(|(_, content)| content).collect();
        assert_eq!(content, ["message", "repeated", "message", "invalid"]);
    }
}
