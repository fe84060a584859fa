//! The callback, and what to expect of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::str::FromStr;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::request::{CALLBACK_FIELDS, ConsentRequest, Reserved, as_number};
use crate::codec::{decode_pairs, parse_object_without_duplicates};
use crate::{Grant, LocalizedText, OpenId, Scene, TemplateId, ValidationError, ValidationErrorKind};

/// A callback: what the user did, and the fields of the request. It is unsigned and anyone can write one. It proves
/// nothing until its `reserved` has been verified.
///
/// It parses a callback URL, a query string, JSON, `key:value` lines, or a map as a phone's log prints it
/// (`{openId: o, scene: 1000}`). Unknown names are ignored. A duplicate name is an error, except an `openid` with the same
/// value. A `reserved` of `null` counts as absent. `openid` is required on confirm and dropped on cancel.
///
/// As JSON: `{"action","openid","template_id","scene":1000,"reserved"}`; absent members are left out.
///
/// ```
/// use wxsub_proto::{ConsentAction, ConsentCallback};
///
/// let callback: ConsentCallback = "https://shop.example/back?openid=OPENID&template_id=T&action=confirm&scene=7&reserved=proof".parse()?;
/// assert!(matches!(&callback.action, ConsentAction::Confirm { openid } if openid.as_str() == "OPENID"));
/// assert_eq!(callback, "openid:OPENID\ntemplate_id:T\naction:confirm\nscene:7\nreserved:proof".parse()?);
/// # Ok::<(), wxsub_proto::ValidationError>(())
/// ```
///
/// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "Weixin documents these five, with the openid of a confirm")]
pub struct ConsentCallback {
    /// What the user tapped.
    #[serde(flatten)]
    pub action: ConsentAction,
    /// The template of the request.
    pub template_id: TemplateId,
    /// The scene of the request.
    #[serde(serialize_with = "as_number")]
    pub scene: Scene,
    /// The `reserved` value of the request, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

/// What the user tapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ConsentAction {
    /// Confirm: the message may be sent to this user.
    Confirm {
        /// The user.
        openid: OpenId,
    },
    /// Cancel: no message may be sent.
    Cancel,
}

impl ConsentCallback {
    /// The grant of a confirmed callback, without verification; `None` for a cancelled one. See
    /// [`Grant::assume_verified`].
    pub fn assume_verified(&self) -> Option<Grant> {
        match &self.action {
            ConsentAction::Confirm { openid } => {
                Some(Grant::new(openid.clone(), self.template_id.clone(), self.scene))
            }
            ConsentAction::Cancel => None,
        }
    }

    /// The query string Weixin appends to the redirect.
    pub fn to_query(&self) -> String {
        let Self { action, template_id, scene, reserved } = self;
        let mut query = match action {
            ConsentAction::Confirm { openid } => {
                format!("openid={openid}&template_id={template_id}&action=confirm")
            }
            ConsentAction::Cancel => format!("template_id={template_id}&action=cancel"),
        };
        query.push_str(&format!("&scene={scene}"));
        if let Some(reserved) = reserved {
            query.push_str(&format!("&reserved={reserved}"));
        }
        query
    }
}

impl FromStr for ConsentCallback {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let mut fields = parse_fields(text)?;
        let mut required = |name| fields.remove(name).ok_or_else(|| ValidationError::missing(name));
        let confirmed = match required("action")?.as_str() {
            "confirm" => true,
            "cancel" => false,
            _ => {
                return Err(ValidationError::invalid_format(
                    "action",
                    LocalizedText::new("confirm or cancel", "是 confirm 或 cancel"),
                ));
            }
        };
        let template_id = required("template_id")?.parse()?;
        let scene = required("scene")?.parse()?;
        let action = match confirmed {
            true => ConsentAction::Confirm { openid: required("openid")?.parse()? },
            false => ConsentAction::Cancel,
        };
        let reserved = match fields.remove("reserved") {
            Some(text) if !text.is_empty() && text != "null" => Some(Reserved::new(text)?),
            _ => None,
        };
        Ok(Self { action, template_id, scene, reserved })
    }
}

/// The maximum size of a callback in bytes. Real ones have a few hundred.
const MAX_BYTES: usize = 16 * 1024;

/// The documented fields of a callback URL, a query string, JSON, a printed map, or `key:value` lines. The text decides
/// which. Unknown names are ignored. A duplicate name is an error.
fn parse_fields(text: &str) -> Result<BTreeMap<&'static str, String>, ValidationError> {
    if text.len() > MAX_BYTES {
        let rule = ValidationErrorKind::TooLong { max: MAX_BYTES, actual: text.len() };
        return Err(ValidationError::new("callback", rule));
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if text.is_empty() {
        return Err(ValidationError::new("callback", ValidationErrorKind::Empty));
    }
    let mut fields = BTreeMap::new();
    for (name, value) in pairs(text)? {
        let Some(field) = documented_field(&name) else { continue };
        match fields.entry(field) {
            Entry::Vacant(slot) => {
                slot.insert(value);
            }
            // Some bridges for phones hand over an openid under both spellings.
            Entry::Occupied(first) if field == "openid" && *first.get() == value => {}
            Entry::Occupied(_) => return Err(ValidationError::new(field, ValidationErrorKind::Duplicate)),
        }
    }
    Ok(fields)
}

/// The documented name of a field. The mobile SDKs spell two of them differently.
fn documented_field(name: &str) -> Option<&'static str> {
    let name = match name {
        "openId" => "openid",
        "templateId" | "templateID" => "template_id",
        name => name,
    };
    CALLBACK_FIELDS.into_iter().find(|field| *field == name)
}

type Pairs = Vec<(String, String)>;

/// The names and values of a text that is not empty.
fn pairs(text: &str) -> Result<Pairs, ValidationError> {
    if let Some(members) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        return match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => pairs_of_json(text),
            Err(_) => pairs_of_printed_map(members),
        };
    }
    match text.find(['=', ':']).map(|at| text.split_at(at)) {
        Some((before, rest))
            if rest.starts_with("://")
                || is_port_of_url(rest)
                || rest.starts_with('=') && before.contains('?') =>
        {
            pairs_of_query(text.split_once('?').map_or("", |(_, query)| query))
        }
        Some((_, rest)) if rest.starts_with(':') => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| match line.split_once(':') {
                Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
                None => {
                    Err(malformed(LocalizedText::new("lines of the form key:value", "是 key:value 形式的行")))
                }
            })
            .collect(),
        Some(_) => pairs_of_query(text),
        None => Err(malformed(LocalizedText::new(
            "a callback URL, a query string, a JSON object, a printed map or key:value lines",
            "是回调 URL、查询字符串、JSON 对象、打印出的 map 或 key:value 形式的行",
        ))),
    }
}

/// Whether a URL without scheme goes on with its port here: `:8080/back?…`.
fn is_port_of_url(rest: &str) -> bool {
    let port = rest.strip_prefix(':').and_then(|rest| rest.split_once(['/', '?']));
    port.is_some_and(|(port, _)| port.parse::<u16>().is_ok())
}

fn pairs_of_query(query: &str) -> Result<Pairs, ValidationError> {
    // A URL that was copied out of HTML has `&amp;` where `&` was.
    let query = query.split('#').next().unwrap_or_default().replace("&amp;", "&");
    let mut pairs = Pairs::new();
    for (name, pair) in decode_pairs(&query) {
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(invalid) if documented_field(name).is_some() => return Err(invalid.with_field("callback")),
            // A parameter of the application may be GBK.
            Err(_) => {}
        }
    }
    Ok(pairs)
}

fn pairs_of_json(text: &str) -> Result<Pairs, ValidationError> {
    let object = parse_object_without_duplicates(text.as_bytes()).map_err(|_| {
        malformed(LocalizedText::new(
            "one JSON object in which no name stands twice",
            "是一个没有重名成员的 JSON 对象",
        ))
    })?;
    let members = object.into_iter().filter_map(|(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, text)),
        other => Some((name, other.to_string())),
    });
    Ok(members.collect())
}

/// A map as Dart, JavaScript, Java, Swift or Python print it: `{openId: o, scene: 1000}`, `{openId=o, scene=1000}`,
/// `{ openId = o; scene = 1000; }`, with or without quotes.
fn pairs_of_printed_map(members: &str) -> Result<Pairs, ValidationError> {
    let mut pairs = Pairs::new();
    for member in members.split([',', ';', '\n']).map(str::trim).filter(|member| !member.is_empty()) {
        let Some((name, value)) = member.split_once([':', '=']) else {
            return Err(malformed(LocalizedText::new(
                "one JSON object, or a map printed as {name: value, …}",
                "是一个 JSON 对象，或打印成 {name: value, …} 的 map",
            )));
        };
        let [name, value] = [name, value].map(|text| text.trim().trim_matches(['"', '\'']).to_owned());
        if !["null", "undefined", "None", "nil", "<null>"].contains(&value.as_str()) {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

fn malformed(expected: LocalizedText) -> ValidationError {
    ValidationError::invalid_format("callback", expected)
}

/// The values that a callback must have to belong to a request, for applications that keep the request in the user's
/// session. `None` is not checked. Without `reserved` a callback stays unproven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackExpectations {
    /// The expected `reserved` value.
    pub reserved: Option<Reserved>,
    /// The requested scene.
    pub scene: Option<Scene>,
    /// The requested template.
    pub template_id: Option<TemplateId>,
}

/// A callback that does not belong to the request. Do not act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, getset::CopyGetters)]
#[error("the callback's {field} is not the requested one; do not act on it, ask the user again")]
pub struct CallbackMismatch {
    /// The field that differs.
    #[getset(get_copy = "pub")]
    field: &'static str,
}

impl CallbackMismatch {
    /// The error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let field = self.field;
        LocalizedText::new(
            self.to_string(),
            format!("回调中的 {field} 与请求的不一致；不要据此处理，请让用户重新授权"),
        )
    }
}

impl CallbackExpectations {
    /// Expects every value of the request.
    pub fn of(request: &ConsentRequest) -> Self {
        Self {
            reserved: request.reserved.clone(),
            scene: Some(request.scene),
            template_id: Some(request.template_id.clone()),
        }
    }

    /// Compares a callback with the expectations.
    ///
    /// # Errors
    /// [`CallbackMismatch`] names the first field that differs.
    pub fn check(&self, callback: &ConsentCallback) -> Result<(), CallbackMismatch> {
        let differs = |field| Err(CallbackMismatch { field });
        if let Some(expected) = &self.reserved
            && !callback
                .reserved
                .as_ref()
                .is_some_and(|given| expected.as_str().as_bytes().ct_eq(given.as_str().as_bytes()).into())
        {
            return differs("reserved");
        }
        if self.scene.is_some_and(|expected| expected != callback.scene) {
            return differs("scene");
        }
        if self.template_id.as_ref().is_some_and(|expected| *expected != callback.template_id) {
            return differs("template_id");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "openid:oyAaTjt-xXvP87pubE4eUOF-ttD4\ntemplate_id:7YuTL__ilzyZB9DXcDt2mHx-CAS_E7KtsQkhIGVhhRM\n\
                            action:confirm\nreserved:hello\nscene:1000\n";

    fn document() -> ConsentCallback {
        DOCUMENT.parse().unwrap()
    }

    #[test]
    fn every_format_gives_the_same_callback() {
        let query = document().to_query();
        let json = serde_json::to_string(&document()).unwrap();
        for text in [
            query.clone(),
            format!("?{query}"),
            format!("https://a.example/back?{query}#wechat_redirect"),
            format!("https://a.example/back/?x=1&{query}"),
            format!("/back?{query}"),
            format!("wx0123://back?{query}"),
            json,
            DOCUMENT.replace('\n', "\r\n"),
            DOCUMENT.replace(':', " : "),
            DOCUMENT.replace("openid", "openId").replace("template_id", "templateID"),
        ] {
            assert_eq!(text.parse::<ConsentCallback>().as_ref(), Ok(&document()), "{text}");
        }
    }

    /// Text copied from HTML, a chat, or a phone's log.
    #[test]
    fn pasted_text_gives_the_same_callback() {
        let (openid, template) =
            ("oyAaTjt-xXvP87pubE4eUOF-ttD4", "7YuTL__ilzyZB9DXcDt2mHx-CAS_E7KtsQkhIGVhhRM");
        let query = document().to_query();
        for text in [
            format!("https://a.example/back?{}", query.replace('&', "&amp;")),
            format!(
                "https://a.example/back?{query}&from=singlemessage&isappinstalled=0&clicktime=1&enterid=2"
            ),
            format!("https://a.example/back?from=timeline&amp;{}", query.replace('&', "&amp;")),
            format!("localhost:3000/back?{query}"),
            format!("a.example:8443?{query}"),
            format!("https://a.example/back?from=%C4%E3%BA%C3&{query}&%ff"),
            format!("{query}&openId={openid}"),
            format!("\u{feff}{query}\r\n"),
            format!(
                "{{openId: {openid}, templateID: {template}, action: confirm, reserved: hello, scene: 1000}}"
            ),
            format!(
                "{{ errCode: 0, errStr: null, openId: '{openid}',\n  templateId: \"{template}\",\n  action: 'confirm',\n  \
                 reserved: 'hello',\n  scene: 1000,\n}}"
            ),
            format!("{{openId={openid}, templateID={template}, action=confirm, reserved=hello, scene=1000}}"),
            format!(
                "{{\n    action = confirm;\n    openId = \"{openid}\";\n    reserved = hello;\n    scene = 1000;\n    \
                 templateId = \"{template}\";\n}}"
            ),
            format!(
                "{{'openid': '{openid}', 'openId': '{openid}', 'template_id': '{template}', 'action': 'confirm', \
                 'reserved': 'hello', 'scene': 1000, 'lang': None}}"
            ),
        ] {
            assert_eq!(text.parse::<ConsentCallback>().as_ref(), Ok(&document()), "{text}");
        }
        let unset: ConsentCallback =
            "{action: cancel, templateID: T, scene: 7, openId: null, reserved: null}".parse().unwrap();
        assert_eq!((unset.action, unset.reserved), (ConsentAction::Cancel, None));
    }

    #[test]
    fn scene_may_be_text_or_number_and_null_is_absent() {
        let json = r#"{"action":"cancel","template_id":"T","scene":"7","reserved":null,"openid":null,"new":{"x":[1]}}"#;
        let callback: ConsentCallback = json.parse().unwrap();
        assert_eq!(
            (callback.scene.get(), callback.reserved, callback.action),
            (7, None, ConsentAction::Cancel)
        );
        for unset in ["&reserved=null", "&reserved=", ""] {
            let callback: ConsentCallback =
                format!("action=cancel&template_id=T&scene=7{unset}").parse().unwrap();
            assert_eq!(callback.reserved, None);
        }
    }

    #[test]
    fn openid_counts_only_on_confirm() {
        let cancelled: ConsentCallback =
            "action=cancel&template_id=T&scene=7&openid=someone".parse().unwrap();
        assert_eq!(cancelled.action, ConsentAction::Cancel);
        let error = "action=confirm&template_id=T&scene=7".parse::<ConsentCallback>().unwrap_err();
        assert_eq!(error, ValidationError::missing("openid"));
    }

    #[test]
    fn size_limit_is_16_kib() {
        let query = document().to_query();
        let padded = |length: usize| format!("{query}&pad={}", "x".repeat(length - query.len() - 5));
        assert_eq!(padded(16_384).parse().as_ref(), Ok(&document()));
        let error = padded(16_385).parse::<ConsentCallback>().unwrap_err();
        assert_eq!(error.rule(), &ValidationErrorKind::TooLong { max: 16_384, actual: 16_385 });
    }

    #[test]
    fn error_names_the_field() {
        let twice = |field| ValidationError::new(field, ValidationErrorKind::Duplicate);
        for (text, field) in [
            ("", "callback"),
            ("hello", "callback"),
            ("{", "callback"),
            ("[1]", "callback"),
            ("{openId}", "callback"),
            ("{action: confirm, templateID: T, scene: 7, openId: null}", "openid"),
            ("{action: cancel, templateID: T, scene: 7, scene: 7}", "scene"),
            ("{action: cancel, templateID: T T, scene: 7}", "template_id"),
            ("action=confirm&openid=a&openid=b&template_id=T&scene=7", "openid"),
            (r#"{"scene":1,"scene":2}"#, "callback"),
            ("https://a.example/back", "action"),
            ("action=maybe&template_id=T&scene=7", "action"),
            ("action=cancel&template_id=T&scene=10001", "scene"),
            ("action=cancel&template_id=T&scene=07", "scene"),
            ("action=cancel&template_id=T%20T&scene=7", "template_id"),
            ("action=cancel&template_id=T&scene=7&reserved=a-b", "reserved"),
            ("action=cancel&template_id=%ff&scene=7", "callback"),
            (r#"{"action":"cancel","template_id":"T","scene":7.5}"#, "scene"),
            (r#"{"action":"cancel","template_id":["T"],"scene":7}"#, "template_id"),
            ("action:cancel\ntemplate_id", "callback"),
        ] {
            assert_eq!(text.parse::<ConsentCallback>().unwrap_err().field(), field, "{text}");
        }
        assert_eq!("scene=1&scene=1".parse::<ConsentCallback>().unwrap_err(), twice("scene"));
        assert_eq!("openid:a\nopenId:b".parse::<ConsentCallback>().unwrap_err(), twice("openid"));
        let huge = format!("action={}", "x".repeat(20_000));
        assert_eq!(huge.parse::<ConsentCallback>().unwrap_err().field(), "callback");
    }

    #[test]
    fn each_field_is_compared() {
        let request = ConsentRequest::new("wx1", "T", 7).unwrap().reserved("proof").unwrap();
        let expected = CallbackExpectations::of(&request);
        let check = |text: &str| expected.check(&text.parse().unwrap()).map_err(|mismatch| mismatch.field());
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=proof"), Ok(()));
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=other"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=null"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=7"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=8&reserved=proof"), Err("scene"));
        assert_eq!(check("action=cancel&template_id=U&scene=7&reserved=proof"), Err("template_id"));
        assert_eq!(
            CallbackExpectations::default().check(&"action=cancel&template_id=U&scene=8".parse().unwrap()),
            Ok(())
        );
    }
}
