//! A message as the caller wrote it, before validation.

mod names;

use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Color, Content, Message, MiniProgram, PagePath, TapTarget, Title};
use crate::codec::{ObjectVisitor, parse_object_without_duplicates};
use crate::validation::ErrorCollector;
use crate::{
    AppId, Grant, HttpUrl, OpenId, Scene, TemplateId, ValidationError, ValidationErrorKind, ValidationErrors,
};

/// A message in JSON that is not yet validated. [`validate`](Self::validate) names all problems at once.
///
/// ```
/// use wxsub_proto::message::MessageDraft;
///
/// let draft = MessageDraft::from_json(br#"{"touser":"o","template_id":"T","scene":"07","title":"","tilte":"Parcel"}"#)?;
/// let fields: Vec<_> = draft.validate().unwrap_err().iter().map(|problem| problem.field()).collect();
/// assert_eq!(fields, ["scene", "title", "data.content.value", "message"]);
/// # Ok::<(), wxsub_proto::ValidationError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MessageDraft(Map<String, Value>);

impl MessageDraft {
    /// Parses one JSON object.
    ///
    /// # Errors
    /// [`ValidationError`] if the bytes are not one JSON object, or repeat a name. The error names the likely cause.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ValidationError> {
        parse_object_without_duplicates(bytes).map(Self).map_err(|error| {
            let expected = expected_form(bytes, &error);
            ValidationError::new("message", ValidationErrorKind::InvalidFormat { expected })
        })
    }

    /// The value of one field, for example `data.content.value`; `None` if it is absent or `null`.
    #[must_use]
    pub fn get(&self, place: &str) -> Option<&Value> {
        let mut names = place.split('.');
        let first = self.0.get(names.next()?);
        names
            .fold(first, |value, name| value.and_then(|value| value.get(name)))
            .filter(|value| !value.is_null())
    }

    /// Removes one top-level member. [`validate`](Self::validate) then treats it as absent.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The message, if every rule is kept. An optional member with an empty value (`null`, blank text, `[]`, `{}`, or an
    /// object of only such values) counts as absent, because many SDKs cannot omit it.
    ///
    /// # Errors
    /// [`ValidationErrors`]: every field that breaks a rule, in the order of Weixin's documentation; unknown members come last.
    pub fn validate(&self) -> Result<Message, ValidationErrors> {
        self.check_members(true)
    }

    /// Like [`validate`](Self::validate), but ignores unknown members, as Weixin does.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), without unknown members.
    pub fn validate_ignoring_unknown(&self) -> Result<Message, ValidationErrors> {
        self.check_members(false)
    }

    fn check_members(&self, refuse_unknown: bool) -> Result<Message, ValidationErrors> {
        let mut validator = DraftValidator { draft: self, errors: ErrorCollector::default() };
        let touser = validator.required::<OpenId>("touser");
        let template_id = validator.required::<TemplateId>("template_id");
        let url = validator.optional::<HttpUrl>("url");
        validator.object("miniprogram");
        let page = match self.non_empty("miniprogram") {
            Some(Value::Object(_)) => {
                let appid = validator.required::<AppId>("miniprogram.appid");
                let pagepath = validator.required::<PagePath>("miniprogram.pagepath");
                appid.zip(pagepath).map(|(appid, pagepath)| MiniProgram { appid, pagepath })
            }
            _ => None,
        };
        let scene = validator.scene();
        let title = validator.required::<Title>("title");
        validator.object("data");
        validator.object("data.content");
        let content = validator.required::<Content>("data.content.value");
        let color = validator.optional::<Color>("data.content.color");
        if refuse_unknown {
            validator.unknown_names();
        }

        let grant = touser.zip(template_id).zip(scene);
        let message =
            grant.zip(title.zip(content)).map(|(((openid, template_id), scene), (title, content))| {
                let tap_target = TapTarget::from_parts(url, page);
                Message { grant: Grant::new(openid, template_id, scene), title, content, color, tap_target }
            });
        validator.errors.finish(message)
    }

    fn non_empty(&self, place: &str) -> Option<&Value> {
        self.get(place).filter(|value| !is_empty(value))
    }
}

/// Whether a value counts as absent.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The likely cause why bytes are not one JSON object.
fn expected_form(bytes: &[u8], error: &serde_json::Error) -> &'static str {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "UTF-8 text; save it as UTF-8, not as GBK or UTF-16";
    };
    let text = text.trim();
    if text.starts_with('[') {
        return "one JSON object, not a list; write one object a line";
    }
    if error.is_eof() {
        return "one whole JSON object; this one ends too early";
    }
    if error.to_string().starts_with("trailing comma") {
        return "JSON without a comma before } or ]; remove it";
    }
    match text.strip_suffix(',').map(str::as_bytes).map(parse_object_without_duplicates) {
        Some(Ok(_)) => "one JSON object without a comma behind it; remove the comma",
        _ => "one JSON object in which no name stands twice",
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MessageDraft::deserialize(deserializer)?.validate().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for MessageDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

/// Reads the fields one by one and collects their errors.
struct DraftValidator<'a> {
    draft: &'a MessageDraft,
    errors: ErrorCollector,
}

impl DraftValidator<'_> {
    fn keep<T>(&mut self, field: &'static str, result: Result<T, ValidationError>) -> Option<T> {
        self.errors.keep(result.map_err(|error| error.with_field(field)))
    }

    fn required<T: FromStr<Err = ValidationError>>(&mut self, field: &'static str) -> Option<T> {
        match self.draft.get(field) {
            None => self.keep(field, Err(ValidationError::new(field, ValidationErrorKind::Missing))),
            Some(value) => self.parse(field, value),
        }
    }

    fn optional<T: FromStr<Err = ValidationError>>(&mut self, field: &'static str) -> Option<T> {
        self.parse(field, self.draft.non_empty(field)?)
    }

    fn parse<T: FromStr<Err = ValidationError>>(&mut self, field: &'static str, value: &Value) -> Option<T> {
        let read = match value {
            Value::String(text) => text.parse(),
            _ => Err(ValidationError::new(field, ValidationErrorKind::InvalidFormat { expected: "text" })),
        };
        self.keep(field, read)
    }

    fn scene(&mut self) -> Option<Scene> {
        let read = match self.draft.get("scene") {
            None => Err(ValidationError::new("scene", ValidationErrorKind::Missing)),
            Some(Value::String(text)) => text.parse(),
            Some(other) => other.to_string().parse(),
        };
        self.keep("scene", read)
    }

    fn object(&mut self, field: &'static str) {
        if self.draft.non_empty(field).is_some_and(|value| !value.is_object()) {
            let rule = ValidationErrorKind::InvalidFormat { expected: "a JSON object" };
            self.errors.push(ValidationError::new(field, rule));
        }
    }

    /// Reports unknown names. A misspelt name would lose its value silently.
    fn unknown_names(&mut self) {
        for (place, known) in names::KNOWN {
            let object = match place {
                "message" => Some(&self.draft.0),
                place => self.draft.get(place).and_then(Value::as_object),
            };
            let unknown =
                object.into_iter().flat_map(Map::keys).filter(|name| !known.contains(&name.as_str()));
            for name in unknown.take(MAX_UNKNOWN_FIELDS) {
                let rule = ValidationErrorKind::UnknownField {
                    name: sanitize_name(name),
                    suggestion: names::suggest(place, name),
                };
                self.errors.push(ValidationError::new(place, rule));
            }
        }
    }
}

/// The number of unknown names of one object that are reported.
const MAX_UNKNOWN_FIELDS: usize = 8;

/// Makes a foreign name safe to show.
fn sanitize_name(name: &str) -> String {
    let is_safe = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '?' }
    };
    name.chars().take(32).map(is_safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r##"{"touser":"o","template_id":"T","url":"https://a.example/x","scene":"1000","title":"t",
        "miniprogram":{"appid":"wx2","pagepath":"pages/index?x=1"},"data":{"content":{"value":"v","color":"#abcdef"}}}"##;

    fn problems(json: &str) -> Vec<String> {
        match MessageDraft::from_json(json.as_bytes())
            .map_err(ValidationErrors::from)
            .and_then(|draft| draft.validate())
        {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn parsed_message_serializes_to_itself() {
        let message: Message = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(message.content_color().unwrap().as_str(), "#abcdef");
        assert!(matches!(message.tap_target(), Some(TapTarget::MiniProgramOrUrl(..))));
        let written = serde_json::from_slice::<Value>(&message.to_json()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(WHOLE).unwrap());
    }

    #[test]
    fn null_is_absent_and_scene_may_be_a_number() {
        let message: Message = serde_json::from_str(
            r#"{"touser":"o","template_id":"T","url":null,"miniprogram":null,"scene":7,"title":"t","data":{"content":{"value":"v","color":null}}}"#,
        )
        .unwrap();
        assert_eq!(
            (message.tap_target(), message.content_color(), message.grant().scene().get()),
            (None, None, 7)
        );
        assert!(!String::from_utf8(message.to_json()).unwrap().contains("null"));
    }

    #[test]
    fn empty_optional_members_count_as_absent() {
        for empty in [r#""""#, r#"" ""#, "null", "[]", "{}", r#"{"appid":"","pagepath":""}"#, r#"[""]"#] {
            let message: Message = serde_json::from_str(&format!(
                r#"{{"touser":"o","template_id":"T","scene":7,"title":"t","miniprogram":{empty},"url":{empty},
                    "data":{{"content":{{"value":"v","color":{empty}}}}}}}"#
            ))
            .unwrap_or_else(|error| panic!("{empty}: {error}"));
            assert_eq!((message.tap_target(), message.content_color()), (None, None), "{empty}");
        }
    }

    #[test]
    fn an_empty_required_member_is_still_a_problem() {
        let all = problems(
            r#"{"touser":"","template_id":null,"scene":"","title":"","data":[],"miniprogram":{"appid":"wx2","pagepath":""}}"#,
        );
        let fields: Vec<_> = all.iter().map(|line| line.split(": ").next().unwrap()).collect();
        let expected =
            ["touser", "template_id", "miniprogram.pagepath", "scene", "title", "data.content.value"];
        assert_eq!(fields, expected, "{all:?}");
    }

    #[test]
    fn unknown_members_can_be_ignored() {
        let json = br#"{"touser":"o","template_id":"T","scene":7,"title":"t","page":"p","client_msg_id":"1",
            "miniprogram":{"appid":"wx2","pagepath":"p","path":"q"},"data":{"content":{"value":"v","x":1},"first":{}}}"#;
        let draft = MessageDraft::from_json(json).unwrap();
        assert!(draft.validate_ignoring_unknown().is_ok());
        assert_eq!(draft.validate().unwrap_err().iter().count(), 5);
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let all = problems(
            r#"{"touser":"","template_id":7,"url":"ftp://x","scene":10001,"title":"0123456789abcdefg","extra":1,
                "miniprogram":{"appid":"wx2"},"data":{"content":{"value":"a\rb","color":"red","colour":""}}}"#,
        );
        let fields: Vec<_> = all.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "touser",
                "template_id",
                "url",
                "miniprogram.pagepath",
                "scene",
                "title",
                "data.content.value",
                "data.content.color",
                "message",
                "data.content"
            ]
        );
    }

    #[test]
    fn other_json_kind_is_rejected_with_the_expected_one() {
        let error = serde_json::from_str::<MessageDraft>("[]").unwrap_err().to_string();
        assert!(error.contains("a JSON object"), "{error}");
    }

    #[test]
    fn unknown_name_is_sanitized() {
        let all = problems(
            r#"{"touser":"o","template_id":"T","scene":1,"title":"t","data":{"content":{"value":"v","co<l>_or-.9\n":1}}}"#,
        );
        assert_eq!(all.len(), 1);
        assert!(all[0].starts_with("data.content: ") && all[0].contains("co?l?_or-.9?"), "{all:?}");
    }

    /// Each kind of title error names its position.
    #[test]
    fn position_of_a_control_character_counts_from_one() {
        let all = problems(
            r#"{"touser":"o","template_id":"T","scene":1,"title":"ab\u0007","data":{"content":{"value":"v"}}}"#,
        );
        assert!(all.len() == 1 && all[0].starts_with("title: ") && all[0].contains('3'), "{all:?}");
    }

    #[test]
    fn a_removed_member_is_absent() {
        let mut draft = MessageDraft::from_json(WHOLE.as_bytes()).unwrap();
        assert_eq!((draft.remove("title"), draft.remove("id")), (Some("t".into()), None));
        let fields: Vec<_> = draft.validate().unwrap_err().iter().map(ValidationError::field).collect();
        assert_eq!(fields, ["title"]);
    }

    #[test]
    fn wrong_form_of_json_is_explained() {
        for (text, said) in [
            ("[]", "message: must be one JSON object, not a list; write one object a line"),
            (
                r#"{"title":"a","title":"b"}"#,
                "message: must be one JSON object in which no name stands twice",
            ),
            (r#"{"title":"a","#, "message: must be one whole JSON object; this one ends too early"),
            (r#"{"title":"a",}"#, "message: must be JSON without a comma before } or ]; remove it"),
            (
                r#"{"title":"a"}, "#,
                "message: must be one JSON object without a comma behind it; remove the comma",
            ),
        ] {
            assert_eq!(problems(text), [said], "{text}");
        }
        let gbk = MessageDraft::from_json(b"{\"title\":\"\xc4\xe3\"}").unwrap_err().to_string();
        assert_eq!(gbk, "message: must be UTF-8 text; save it as UTF-8, not as GBK or UTF-16");
        let all = problems(
            r#"{"touser":"o","template_id":"T","scene":1,"title":"t","data":"text","miniprogram":"wx"}"#,
        );
        assert_eq!(
            all,
            [
                "miniprogram: must be a JSON object",
                "data: must be a JSON object",
                "data.content.value: is missing; it is required"
            ]
        );
        assert!(
            serde_json::from_str::<Message>("{}").unwrap_err().to_string().contains("touser: is missing")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in ".*") {
            let _problems = problems(&text);
        }
    }
}
