//! A message as the caller wrote it, before validation.

mod names;
mod reader;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Color, Content, Message, MiniProgram, PagePath, Title};
use crate::codec::expected_form;
use crate::validation::ErrorCollector;
use crate::{
    AppId, Grant, HttpUrl, LocalizedText, OpenId, Scene, TemplateId, ValidationError, ValidationErrorKind,
    ValidationErrors,
};

/// A message in JSON that is not yet validated. [`validate`](Self::validate) names all problems at once.
///
/// Its texts are parts of the input: it copies only texts that have escapes.
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
pub struct MessageDraft<'a> {
    /// The known members, in the order of [`names::KNOWN`].
    known: [Option<Member<'a>>; names::KNOWN_COUNT],
    /// The others, by object and name.
    unknown: BTreeMap<(&'static str, Cow<'a, str>), Value>,
}

/// The value of a known member.
#[derive(Debug, Clone)]
enum Member<'a> {
    Text(Cow<'a, str>),
    /// One of the objects of [`names::KNOWN`]. Its members are in the draft.
    Object(&'static str),
    Other(Value),
}

impl<'a> MessageDraft<'a> {
    /// The objects of a message, and the names of their members.
    pub const MEMBERS: [(&'static str, &'static [&'static str]); 4] = names::KNOWN;

    /// Parses one JSON object.
    ///
    /// # Errors
    /// [`ValidationError`] if the bytes are not one JSON object, or repeat a name. The error names the likely cause.
    pub fn from_json(bytes: &'a [u8]) -> Result<Self, ValidationError> {
        let parse = || {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            let draft = Self::deserialize(&mut deserializer)?;
            deserializer.end().map(|()| draft)
        };
        parse().map_err(|error| ValidationError::invalid_format("message", expected_form(bytes, &error)))
    }

    /// The user, if it is valid.
    pub fn touser(&self) -> Option<OpenId> {
        self.required("touser").ok()
    }

    /// The template, if it is valid.
    pub fn template_id(&self) -> Option<TemplateId> {
        self.required("template_id").ok()
    }

    /// The scene, if it is valid.
    pub fn scene(&self) -> Option<Scene> {
        self.required_scene().ok()
    }

    /// Removes one top-level member. [`validate`](Self::validate) then treats it as absent.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        match names::index("message", name) {
            Some(index) => self.take(index),
            None => self.unknown.remove(&("message", name.to_owned().into())),
        }
    }

    /// Removes a known member and its own members.
    fn take(&mut self, index: usize) -> Option<Value> {
        Some(match self.known.get_mut(index)?.take()? {
            Member::Text(text) => text.into(),
            Member::Other(value) => value,
            Member::Object(object) => {
                let mut value: Map<_, _> = names::known(object)
                    .filter_map(|(name, index)| Some((name.to_owned(), self.take(index)?)))
                    .collect();
                let unknown = self.unknown.extract_if(.., |(owner, _), _| *owner == object);
                value.extend(unknown.map(|((_, name), value)| (name.into_owned(), value)));
                value.into()
            }
        })
    }

    /// The message, if every rule is kept. An optional member with an empty value (`null`, blank text, `[]`, `{}`, or an
    /// object of only such values) counts as absent, because many SDKs cannot omit it.
    ///
    /// # Errors
    /// [`ValidationErrors`]: every field that breaks a rule, in the order of Weixin's documentation; unknown members come
    /// last.
    pub fn validate(&self) -> Result<Message, ValidationErrors> {
        self.check(true)
    }

    /// Like [`validate`](Self::validate), but ignores unknown members, as Weixin does.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), without unknown members.
    pub fn validate_ignoring_unknown(&self) -> Result<Message, ValidationErrors> {
        self.check(false)
    }

    fn check(&self, refuse_unknown: bool) -> Result<Message, ValidationErrors> {
        let mut errors = ErrorCollector::default();
        let touser = errors.keep(self.required::<OpenId>("touser"));
        let template_id = errors.keep(self.required::<TemplateId>("template_id"));
        let url = errors.keep(self.optional::<HttpUrl>("url")).flatten();
        errors.keep(self.check_object("miniprogram"));
        let mini_program = match self.non_empty("miniprogram") {
            Some(Member::Object(_)) => {
                let appid = errors.keep(self.required::<AppId>("miniprogram.appid"));
                let pagepath = errors.keep(self.required::<PagePath>("miniprogram.pagepath"));
                appid.zip(pagepath).map(|(appid, pagepath)| MiniProgram { appid, pagepath })
            }
            _ => None,
        };
        let scene = errors.keep(self.required_scene());
        let title = errors.keep(self.required::<Title>("title"));
        errors.keep(self.check_object("data"));
        errors.keep(self.check_object("data.content"));
        let content = errors.keep(self.required::<Content>("data.content.value"));
        let color = errors.keep(self.optional::<Color>("data.content.color")).flatten();
        if refuse_unknown {
            self.check_names(&mut errors);
        }

        let grant = touser.zip(template_id).zip(scene);
        let message =
            grant.zip(title.zip(content)).map(|(((openid, template_id), scene), (title, content))| Message {
                grant: Grant::new(openid, template_id, scene),
                title,
                content,
                color,
                tap_url: url,
                mini_program,
            });
        errors.finish(message)
    }

    /// The value of a known field, for example `data.content.value`; `None` if it is absent or `null`.
    fn get(&self, field: &str) -> Option<&Member<'a>> {
        let member = self.known.get(names::index_of_field(field)?)?.as_ref();
        member.filter(|member| !matches!(member, Member::Other(Value::Null)))
    }

    fn non_empty(&self, field: &str) -> Option<&Member<'a>> {
        self.get(field).filter(|member| !self.is_empty(member))
    }

    /// Whether a value counts as absent.
    fn is_empty(&self, member: &Member<'_>) -> bool {
        match member {
            Member::Text(text) => text.trim().is_empty(),
            Member::Other(value) => is_empty(value),
            Member::Object(object) => {
                let known = || names::known(object).filter_map(|(_, index)| self.known.get(index)?.as_ref());
                known().all(|member| self.is_empty(member))
                    && self.unknown.iter().all(|((owner, _), value)| owner != object || is_empty(value))
            }
        }
    }

    fn required<T: FromStr<Err = ValidationError>>(&self, field: &'static str) -> Result<T, ValidationError> {
        match self.get(field) {
            Some(member) => parse(field, member),
            None => Err(ValidationError::missing(field)),
        }
    }

    fn optional<T: FromStr<Err = ValidationError>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, ValidationError> {
        self.non_empty(field).map(|member| parse(field, member)).transpose()
    }

    fn required_scene(&self) -> Result<Scene, ValidationError> {
        match self.get("scene") {
            Some(Member::Text(text)) => text.parse(),
            Some(Member::Other(value)) => Scene::try_from(value.as_u64().unwrap_or(u64::MAX)),
            Some(Member::Object(_)) => Scene::try_from(u64::MAX),
            None => Err(ValidationError::missing("scene")),
        }
    }

    fn check_object(&self, field: &'static str) -> Result<(), ValidationError> {
        match self.non_empty(field) {
            None | Some(Member::Object(_)) => Ok(()),
            Some(_) => Err(ValidationError::invalid_format(
                field,
                LocalizedText::new("a JSON object", "是 JSON 对象"),
            )),
        }
    }

    /// Reports unknown names. A misspelt name would lose its value silently.
    fn check_names(&self, errors: &mut ErrorCollector) {
        for (object, _) in names::KNOWN {
            let unknown = self.unknown.keys().filter(|(owner, _)| *owner == object);
            for (_, name) in unknown.take(MAX_UNKNOWN_FIELDS) {
                let rule = ValidationErrorKind::UnknownField {
                    name: sanitize_name(name),
                    suggestion: names::suggest(object, name),
                };
                errors.push(ValidationError::new(object, rule));
            }
        }
    }
}

fn parse<T: FromStr<Err = ValidationError>>(
    field: &'static str,
    member: &Member<'_>,
) -> Result<T, ValidationError> {
    match member {
        Member::Text(text) => text.parse().map_err(|error: ValidationError| error.with_field(field)),
        _ => Err(ValidationError::invalid_format(field, LocalizedText::new("text", "是文本"))),
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

    /// The members of a valid message, without braces.
    const VALID: &str =
        r#""touser":"o","template_id":"T","scene":1,"title":"t","data":{"content":{"value":"v"}}"#;

    /// A valid message with more members.
    fn with(more: &str) -> String {
        format!("{{{VALID},{more}}}")
    }

    /// The fields of the problems.
    fn fields(json: &str) -> Vec<String> {
        let field = |problem: &String| problem.split(": ").next().unwrap().to_owned();
        problems(json).iter().map(field).collect()
    }

    #[test]
    fn parsed_message_serializes_to_itself() {
        let draft = MessageDraft::from_json(WHOLE.as_bytes()).unwrap();
        assert!(draft.known.iter().all(Option::is_some), "add each member of KNOWN to WHOLE: {draft:?}");
        let message = draft.validate().unwrap();
        assert_eq!(message.content_color().unwrap().as_str(), "#abcdef");
        assert!(message.tap_url().is_some() && message.mini_program().is_some());
        let written = serde_json::from_slice::<Value>(&message.to_json()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(WHOLE).unwrap());
    }

    #[test]
    fn empty_optional_members_count_as_absent() {
        for empty in [r#""""#, r#"" ""#, "null", "[]", "{}", r#"{"appid":"","pagepath":""}"#, r#"[""]"#] {
            let json = with(&format!(r#""miniprogram":{empty},"url":{empty}"#));
            let json = json.replace(r#""v""#, &format!(r#""v","color":{empty}"#));
            let message: Message =
                serde_json::from_str(&json).unwrap_or_else(|error| panic!("{empty}: {error}"));
            let set = (message.tap_url(), message.mini_program(), message.content_color());
            assert_eq!(set, (None, None, None), "{empty}");
            assert_eq!(message.to_json(), format!("{{{}}}", VALID.replace(":1,", r#":"1","#)).into_bytes());
        }
    }

    #[test]
    fn an_empty_required_member_is_still_a_problem() {
        let json = r#"{"touser":"","template_id":null,"scene":"","title":"","data":[],"miniprogram":{"appid":"wx2","pagepath":""}}"#;
        let expected =
            ["touser", "template_id", "miniprogram.pagepath", "scene", "title", "data.content.value"];
        assert_eq!(fields(json), expected);
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
        let json = r#"{"touser":"","template_id":7,"url":"ftp://x","scene":10001,"title":"0123456789abcdefg","extra":1,
                "miniprogram":{"appid":"wx2"},"data":{"content":{"value":"a\rb","color":"red","colour":""}}}"#;
        let expected = "touser template_id url miniprogram.pagepath scene title data.content.value \
                        data.content.color message data.content";
        assert_eq!(fields(json).join(" "), expected);
    }

    #[test]
    fn other_json_kind_is_rejected_with_the_expected_one() {
        let error = serde_json::from_str::<MessageDraft<'_>>("[]").unwrap_err().to_string();
        assert!(error.contains("a JSON object"), "{error}");
    }

    /// An unknown name is sanitised. The position of a control character counts from 1.
    #[test]
    fn problem_quotes_name_or_position() {
        for (valid, invalid, field, quoted) in [
            (r#""v""#, r#""v","co<l>_or-.9\n":1"#, "data.content: ", "co?l?_or-.9?"),
            (r#""t","#, r#""ab\u0007","#, "title: ", "3"),
        ] {
            let all = problems(&format!("{{{}}}", VALID.replace(valid, invalid)));
            assert!(all.len() == 1 && all[0].starts_with(field) && all[0].contains(quoted), "{all:?}");
        }
    }

    #[test]
    fn a_removed_member_is_absent() {
        let mut draft = MessageDraft::from_json(WHOLE.as_bytes()).unwrap();
        assert_eq!((draft.remove("title"), draft.remove("id")), (Some("t".into()), None));
        let fields: Vec<_> = draft.validate().unwrap_err().iter().map(ValidationError::field).collect();
        assert_eq!(fields, ["title"]);
    }

    /// What the reader decides where JSON itself leaves a choice.
    #[test]
    fn odd_json_is_read_strictly() {
        const TWICE: &str = "message: must be one JSON object in which no name stands twice";
        const INVALID: &str = "message: must be one valid JSON object; check its quotes, commas and braces";
        const SCENE: &str = "scene: must be a whole number from 0 to 10000, written in decimal digits without sign or \
                             leading zero";
        const MINI_PROGRAM: &str = "miniprogram: must be a JSON object";
        const ENDS: &str = "message: must be one whole JSON object; this one ends too early";
        let unknown = |object: &str, name: &str, help: &str| {
            format!("{object}: has an unknown member \"{name}\"; {help}")
        };
        let remove = "remove it or correct its spelling";
        let valid = VALID;
        for (text, expected) in [
            // Escapes in names and values.
            (valid.replace("title", r"t\u0069tle"), vec![]),
            (valid.replace(r#""title":"t""#, r#""title":"\u0074","t\u0069tle":"t""#), vec![TWICE.to_owned()]),
            (valid.replace(r#""v""#, r#""\ud83d\ude00""#), vec![]),
            (valid.replace(r#""v""#, r#""\ud83d""#), vec![INVALID.to_owned()]),
        ] {
            assert_eq!(problems(&format!("{{{text}}}")), expected, "{text}");
        }
        for (more, expected) in [
            // Names given twice, at any depth. A known object may not be read in two parts.
            (r#""title":"t""#, vec![TWICE.to_owned()]),
            (r#""data":{}"#, vec![TWICE.to_owned()]),
            (r#""x":1,"x":1"#, vec![TWICE.to_owned()]),
            (r#""x":[{"a":1,"a":2}]"#, vec![TWICE.to_owned()]),
            (r#""miniprogram":{"appid":"","appid":""}"#, vec![TWICE.to_owned()]),
            (r#""miniprogram":null,"miniprogram":null"#, vec![TWICE.to_owned()]),
            // The first error in the text counts.
            (r#""data":{"content":{"#, vec![ENDS.to_owned()]),
            (r#""x":1,"x":2,"y":"#, vec![TWICE.to_owned()]),
            // Numbers that no type can hold, also where the value is not used.
            (r#""x":1e400"#, vec![INVALID.to_owned()]),
            (r#""x":-0,"y":1e-400"#, vec![unknown("message", "x", remove), unknown("message", "y", remove)]),
            // An empty value counts as absent, but not inside of the object of an unknown name.
            (r#""miniprogram":{"appid":"","x":[null,{}]}"#, vec![unknown("miniprogram", "x", remove)]),
            (r#""miniprogram":[[1]]"#, vec![MINI_PROGRAM.to_owned()]),
            (r#""miniprogram":[[]]"#, vec![]),
            (r#""url":{"a":0}"#, vec!["url: must be text".to_owned()]),
            // A name of another object.
            (r#""data.content":1"#, vec![unknown("message", "data.content", remove)]),
            (r#""":2"#, vec![unknown("message", "", remove)]),
        ] {
            assert_eq!(problems(&with(more)), expected, "{more}");
        }
        for scene in
            ["-0", "-1", "1.0", "1e0", "18446744073709551615", "18446744073709551616", "true", "[1]", "{}"]
        {
            let text = format!("{{{valid}}}").replace(r#""scene":1"#, &format!(r#""scene":{scene}"#));
            assert_eq!(problems(&text), [SCENE], "{scene}");
        }
        let deep = |depth: usize| with(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
        assert_eq!(problems(&deep(126)), [unknown("message", "x", remove)]);
        assert_eq!(problems(&deep(127)), [INVALID]);
    }

    #[test]
    fn wrong_form_of_json_is_explained() {
        for (text, said) in [
            ("[]", "message: must be one JSON object, not a list; send each object by itself"),
            (
                r#"{"title":"a","title":"b"}"#,
                "message: must be one JSON object in which no name stands twice",
            ),
            ("{'title':'a'}", "message: must be one valid JSON object; check its quotes, commas and braces"),
            (
                r#"{"title":"a" "data":1}"#,
                "message: must be one valid JSON object; check its quotes, commas and braces",
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
        let expected = "miniprogram: must be a JSON object; data: must be a JSON object; \
                        data.content.value: is missing; it is required";
        assert_eq!(all.join("; "), expected);
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
