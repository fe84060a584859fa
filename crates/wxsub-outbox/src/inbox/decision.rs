//! Decides about a row: the change that records it, or the error with which it stays in the table.

use wxsub_core::clock::UnixMillis;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{AppId, Message};

use super::row::{InboxRow, MAX_MESSAGE_BYTES};
use crate::id::MessageId;
use crate::idempotency::{Fingerprint, INBOX_CLIENT, IdempotencyKey};
use crate::ledger::{Change, InvalidLine, InvalidMessage, KeyKind, NewKey, NewMessage};
use crate::state::Priority;

/// Returns the change that records a row. `require_grant` says whether the messages of an app must have a grant; `None` if the app
/// is not served.
///
/// # Errors
/// The text for `error`, if the row's id or app cannot be read.
pub fn decide(row: &InboxRow, require_grant: impl Fn(&AppId) -> Option<bool>) -> Result<Change, String> {
    let id: MessageId =
        row.id.trim_end().parse().map_err(|_| "id: is not a UUID; insert the row with another id")?;
    let appid: AppId = row.appid.parse().map_err(|error| format!("appid: {error}; correct the row"))?;
    let Some(require_grant) = require_grant(&appid) else {
        return Err(format!("appid: {appid} is not served from this inbox; configure it or correct the row"));
    };
    let (client, kind) = (INBOX_CLIENT, KeyKind::Inbox);
    let key = IdempotencyKey::new(id.to_string()).map_err(|error| error.to_string())?;
    let mut problems = Vec::new();
    let draft = read_message(&row.message, &mut problems);
    let body = draft.as_ref().and_then(|draft| validate(draft, &mut problems));
    let send_at = time("send_at_ms", row.send_at_ms, &mut problems);
    let expires_at = time("expires_at_ms", row.expires_at_ms, &mut problems);
    if NewMessage::expires_too_early(send_at, expires_at) {
        problems.push("expires_at_ms: must be later than send_at_ms; no attempt could begin".to_owned());
    }
    let priority: Option<Priority> = row.priority.parse().ok();
    if priority.is_none() {
        problems.push("priority: must be high, normal or low".to_owned());
    }
    if let (Some(body), Some(priority), true) = (body, priority, problems.is_empty()) {
        let new = NewMessage { id, appid, body, priority, send_at, expires_at, key: None, require_grant };
        return Ok(Change::Enqueue(Box::new(new.with_key("inbox", client, key, kind))));
    }
    let draft = draft.unwrap_or_default();
    let (touser, template_id, scene) = (draft.touser(), draft.template_id(), draft.scene());
    let line = InvalidLine { touser, template_id, scene, problems: problems.join("; ") };
    let key = NewKey { client: client.to_owned(), key, fingerprint: digest(row), kind };
    Ok(Change::RecordInvalid(Box::new(InvalidMessage { id, appid, line, key })))
}

fn read_message<'a>(text: &'a str, problems: &mut Vec<String>) -> Option<MessageDraft<'a>> {
    if text.len() > MAX_MESSAGE_BYTES {
        problems.push(format!("message: is longer than {MAX_MESSAGE_BYTES} bytes"));
        return None;
    }
    MessageDraft::from_json(text.as_bytes()).map_err(|error| problems.push(error.to_string())).ok()
}

fn validate(draft: &MessageDraft<'_>, problems: &mut Vec<String>) -> Option<Message> {
    draft.validate().map_err(|errors| problems.push(errors.to_string())).ok()
}

/// Milliseconds since 1970 (UTC), which are not negative.
fn time(name: &str, millis: Option<i64>, problems: &mut Vec<String>) -> Option<UnixMillis> {
    let at = u64::try_from(millis?);
    at.map_err(|_| problems.push(format!("{name}: must be 0 or more milliseconds"))).ok().map(UnixMillis::new)
}

/// Of a row that breaks a rule: of its columns as they are.
fn digest(row: &InboxRow) -> Fingerprint {
    let InboxRow { id: _, appid: _, message, send_at_ms, expires_at_ms, priority } = row;
    Fingerprint::of_bytes(format!("{send_at_ms:?} {expires_at_ms:?} {priority:?} {message}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str =
        r#"{"touser":"o","template_id":"T","scene":"7","title":"t","data":{"content":{"value":"v"}}}"#;

    fn row() -> InboxRow {
        InboxRow {
            id: "0190c2a0-0000-7000-8000-00000000000a".to_owned(),
            appid: "wx1".to_owned(),
            message: MESSAGE.to_owned(),
            send_at_ms: Some(5),
            expires_at_ms: None,
            priority: "high".to_owned(),
        }
    }

    fn decided(row: &InboxRow) -> Result<Change, String> {
        decide(row, |appid| (appid.as_str() == "wx1").then_some(true))
    }

    fn problems(row: &InboxRow) -> String {
        match decided(row).unwrap() {
            Change::RecordInvalid(invalid) => invalid.line.problems,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_valid_row_is_queued_under_its_id() {
        let Change::Enqueue(new) = decided(&row()).unwrap() else { panic!() };
        let key = new.key.as_ref().unwrap();
        assert_eq!((new.id.to_string(), key.key.as_str(), key.kind), (row().id, &*row().id, KeyKind::Inbox));
        let seen = (new.send_at, new.expires_at, new.priority, new.require_grant);
        assert_eq!(seen, (Some(UnixMillis::new(5)), None, Priority::High, true));
    }

    #[test]
    fn the_same_content_written_otherwise_has_the_same_fingerprint() {
        let fingerprint = |row: &InboxRow| match decided(row).unwrap() {
            Change::Enqueue(new) => new.key.unwrap().fingerprint,
            other => panic!("{other:?}"),
        };
        let first = fingerprint(&row());
        let upper = row().id.to_uppercase();
        let spaced = InboxRow { message: MESSAGE.replace(':', " : "), id: upper, ..row() };
        assert_eq!(fingerprint(&spaced), first);
        assert_ne!(fingerprint(&InboxRow { send_at_ms: None, ..row() }), first);
        assert_ne!(fingerprint(&InboxRow { message: MESSAGE.replace(r#""v""#, r#""w""#), ..row() }), first);
    }

    #[test]
    fn a_row_without_id_or_app_is_rejected_with_what_to_do() {
        for (row, expected) in [
            (InboxRow { id: "17".to_owned(), ..row() }, "id: is not a UUID; insert the row with another id"),
            (InboxRow { id: String::new(), ..row() }, "id: is not a UUID; insert the row with another id"),
            (
                InboxRow { appid: "wx2".to_owned(), ..row() },
                "appid: wx2 is not served from this inbox; configure it or correct the row",
            ),
        ] {
            assert_eq!(decided(&row).unwrap_err(), expected);
        }
        let unreadable = decided(&InboxRow { appid: "w x".to_owned(), ..row() }).unwrap_err();
        assert!(
            unreadable.starts_with("appid: ") && unreadable.ends_with("; correct the row"),
            "{unreadable}"
        );
    }

    #[test]
    fn all_broken_rules_are_named_at_once() {
        let broken = InboxRow {
            message: MESSAGE.replace(r#""scene":"7""#, r#""scene":"70000""#),
            send_at_ms: Some(-1),
            priority: "urgent".to_owned(),
            ..row()
        };
        let problems = problems(&broken);
        for part in ["scene: ", "send_at_ms: must be 0", "priority: must be high, normal or low"] {
            assert!(problems.contains(part), "{problems}");
        }
        let Change::RecordInvalid(invalid) = decided(&broken).unwrap() else { panic!() };
        assert_eq!(invalid.line.touser.map(|user| user.as_str().to_owned()).as_deref(), Some("o"));
    }

    #[test]
    fn a_row_that_expires_before_its_time_breaks_a_rule() {
        let row = |expires_at_ms| InboxRow { expires_at_ms: Some(expires_at_ms), ..row() };
        let rule = "expires_at_ms: must be later than send_at_ms; no attempt could begin";
        assert_eq!([problems(&row(4)), problems(&row(5))], [rule, rule]);
        assert!(matches!(decided(&row(6)), Ok(Change::Enqueue(_))));
    }

    #[test]
    fn odd_messages_break_a_rule_and_nothing_else() {
        for message in ["", "null", "[]", "{", "包裹", "{\"touser\":\"a\",\"touser\":\"b\"}"] {
            let row = InboxRow { message: message.to_owned(), ..row() };
            assert!(problems(&row).starts_with("message: "), "{message}: {}", problems(&row));
        }
        let long = InboxRow { message: " ".repeat(MAX_MESSAGE_BYTES + 1), ..row() };
        assert_eq!(problems(&long), "message: is longer than 16384 bytes");
    }
}
