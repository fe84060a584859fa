//! Checks the lines of a file of messages without network.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use serde_json::Value;
use wxsub_api::SendResult;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{
    ErrorCollector, Grant, LocalizedText, Message, ValidationError, ValidationErrorKind, ValidationErrors,
};

use crate::input::Line;

/// Member with the caller's id. It is returned in the result and not sent to Weixin.
const ID: &str = "id";

/// A checked line.
#[derive(Debug)]
pub(crate) struct CheckedLine {
    /// Number of the line in the file, from 1. Blank lines count.
    pub(crate) number: u64,
    /// Bytes read from the file so far, this line included.
    pub(crate) read: u64,
    /// The caller's id: text or a whole number.
    pub(crate) id: Option<Value>,
    /// The message, or its problems.
    pub(crate) message: Result<Message, InvalidMessage>,
}

/// An invalid message.
#[derive(Debug)]
pub(crate) struct InvalidMessage {
    /// Problems of the message.
    pub(crate) problems: ValidationErrors,
    /// The result of the line.
    pub(crate) result: SendResult,
}

impl InvalidMessage {
    fn new(draft: &MessageDraft<'_>, problems: ValidationErrors) -> Self {
        Self { result: SendResult::invalid(draft, &problems), problems }
    }
}

/// Checks the lines of one file in order.
#[derive(Default)]
pub(crate) struct LineChecker(Duplicates);

impl LineChecker {
    /// Checks the next line.
    ///
    /// A message with the `touser`, `template_id` and `scene` of an earlier valid line is invalid.
    pub(crate) fn check(&mut self, line: &Line) -> CheckedLine {
        let (id, message) = match line.draft() {
            Ok(mut draft) => {
                let id = draft.remove(ID).filter(|id| !id.is_null());
                let checked = self.check_draft(&draft, id.as_ref(), line.number);
                (id, checked.map_err(|problems| InvalidMessage::new(&draft, problems)))
            }
            Err(invalid) => (None, Err(InvalidMessage::new(&MessageDraft::default(), invalid.into()))),
        };
        // An id that would change in the result is dropped.
        let id = id.filter(|id| check_id(id).is_ok());
        CheckedLine { number: line.number, read: line.read, id, message }
    }

    fn check_draft(
        &mut self,
        draft: &MessageDraft<'_>,
        id: Option<&Value>,
        number: u64,
    ) -> Result<Message, ValidationErrors> {
        let mut errors = ErrorCollector::default();
        errors.keep(id.map_or(Ok(()), check_id));
        let message = errors.keep_all(draft.validate());
        let message = errors.finish(message)?;
        match self.0.first_line(message.grant(), number) {
            line if line == number => Ok(message),
            line => Err(ValidationError::new("message", ValidationErrorKind::DuplicateLine { line }).into()),
        }
    }
}

fn check_id(id: &Value) -> Result<(), ValidationError> {
    match id {
        Value::String(_) => Ok(()),
        // Other numbers would lose digits.
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(()),
        _ => Err(ValidationError::invalid_format(
            ID,
            LocalizedText::new("text or a whole number of at most 64 bits", "是文本，或不超过 64 位的整数"),
        )),
    }
}

/// The first line of each `touser`, `template_id` and `scene`.
///
/// It holds hashes of 128 bits, which takes about 40 bytes per message. A hash map would need twice that whenever it grows.
#[derive(Default)]
struct Duplicates {
    /// Two random keys, so that collisions of both hashes are neither likely nor constructible.
    hashers: [RandomState; 2],
    first_lines: BTreeMap<[u64; 2], u64>,
}

impl Duplicates {
    /// Returns the first line with a message for this grant, which is `number` if there is no earlier one.
    fn first_line(&mut self, grant: &Grant, number: u64) -> u64 {
        let key = (grant.openid().as_str(), grant.template_id().as_str(), grant.scene().get());
        let [first, second] = &self.hashers;
        *self.first_lines.entry([first.hash_one(key), second.hash_one(key)]).or_insert(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::input::LineReader;

    fn check(text: &str) -> Vec<CheckedLine> {
        let mut checker = LineChecker::default();
        LineReader::new(text.as_bytes()).map(|line| checker.check(&line.unwrap())).collect()
    }

    fn message(user: &str, scene: &str, more: &str) -> String {
        format!(
            r#"{{"touser":"{user}","template_id":"T","scene":{scene},"title":"t","data":{{"content":{{"value":"v"}}}}{more}}}"#
        )
    }

    fn problems(line: &CheckedLine) -> String {
        line.message.as_ref().map_or_else(|invalid| invalid.problems.to_string(), |_| "valid".to_owned())
    }

    #[test]
    fn id_is_returned_and_not_part_of_the_message() {
        for (written, id) in [
            (r#""order 7""#, json!("order 7")),
            (r#""""#, json!("")),
            ("7", json!(7)),
            ("-7", json!(-7)),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            let line = check(&message("o", "1", &format!(r#","id":{written}"#))).remove(0);
            assert_eq!((line.id.as_ref(), problems(&line)), (Some(&id), "valid".to_owned()));
            assert!(!String::from_utf8(line.message.unwrap().to_json()).unwrap().contains("\"id\""));
        }
        let line = check(&message("o", "1", r#","id":null"#)).remove(0);
        assert_eq!((line.id.as_ref(), problems(&line)), (None, "valid".to_owned()));
    }

    #[test]
    fn id_that_would_change_is_invalid() {
        for written in ["1.5", "18446744073709551616", "true", "[]", "{}"] {
            let line = check(&message("o", "1", &format!(r#","id":{written}"#))).remove(0);
            assert_eq!(line.id, None, "{written}");
            assert!(problems(&line).starts_with("id: must be text or a whole number"), "{}", problems(&line));
        }
    }

    #[test]
    fn invalid_message_keeps_its_id() {
        let line = check(&message("o", "70000", r#","id":"x""#)).remove(0);
        assert_eq!(line.id, Some(json!("x")));
        assert!(problems(&line).starts_with("scene: "));
    }

    #[test]
    fn second_valid_line_for_user_template_and_scene_is_duplicate() {
        let text = [
            message("a", "1", r#","x":1"#),
            message("a", "1", ""),
            message("a", "2", ""),
            message("b", "1", ""),
            message("a", r#""1""#, r#","id":5"#),
            message("a", "1", ""),
        ];
        let problems: Vec<_> = check(&text.join("\n")).iter().map(problems).collect();
        let duplicate = "message: duplicate of line 2; one consent allows one message for a touser, template_id and \
                         scene";
        assert!(problems[0].starts_with("message: has "), "{problems:?}");
        assert_eq!(problems[1..], ["valid", "valid", "valid", duplicate, duplicate]);
    }
}
