//! The envelope of every response: HTTP 200 and a JSON object, in which a non-zero `errcode` is an API error. Each
//! endpoint defines success: [`acknowledgement`] requires `errcode` 0, [`parse_envelope`] leaves it to the object's members.

use std::time::Duration;

use serde_json::{Map, Value};

use super::parse_object_without_duplicates;
use crate::{ApiError, ErrCode, LocalizedText};

/// An HTTP response: status, body, and the headers `Date` and `Retry-After`. `Debug` hides the body, which may be a token.
#[derive(Clone, PartialEq, Eq, derive_more::Debug, getset::WithSetters)]
#[debug("RawResponse({status}, {} bytes)", body.as_ref().len())]
#[debug(bound(B: AsRef<[u8]>))]
pub struct RawResponse<B = Vec<u8>> {
    /// The HTTP status.
    pub status: u16,
    /// The `Date` header, unchanged: the sender's time.
    #[getset(set_with = "pub")]
    pub date: Option<String>,
    /// The `Retry-After` header, if it is a number of seconds.
    #[getset(set_with = "pub")]
    pub retry_after: Option<Duration>,
    /// The bytes of the body.
    pub body: B,
}

impl<B> RawResponse<B> {
    /// A response with this status and body, without headers.
    pub fn new(status: u16, body: B) -> Self {
        Self { status, date: None, retry_after: None, body }
    }
}

/// A response that does not come from Weixin, or that makes no sense. It does not tell whether the request took effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A status other than 200, which Weixin always uses. A proxy or a failing server sent it.
    #[error("HTTP status {0} instead of 200: a gateway or proxy sent the response; check proxy and network")]
    UnexpectedStatus(u16),
    /// The body is a web page: a captive portal or a proxy sent it.
    #[error(
        "a web page instead of JSON: a proxy or captive portal sent the response; check proxy and network"
    )]
    HtmlBody,
    /// The body is not one JSON object, or repeats a name.
    #[error("the response body is not one JSON object without duplicate names")]
    NotJsonObject,
    /// `errcode` is missing, which Weixin's response to a send always has. A gateway or a proxy sent the response.
    #[error("no errcode in the response: a gateway or proxy sent it; check proxy and network")]
    NoErrcode,
    /// A member is missing that a success must have.
    #[error("{0} is missing from the response")]
    MissingField(&'static str),
    /// A member has an invalid value.
    #[error("{0} in the response is out of range or of the wrong type")]
    InvalidField(&'static str),
}

impl DecodeError {
    /// The error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::UnexpectedStatus(status) => {
                format!("HTTP 状态码是 {status} 而不是 200：响应来自网关或代理；请检查代理和网络")
            }
            Self::HtmlBody => {
                "响应是网页而不是 JSON：它来自代理或需要登录的网络；请检查代理和网络".to_owned()
            }
            Self::NotJsonObject => "响应体不是一个没有重名成员的 JSON 对象".to_owned(),
            Self::NoErrcode => "响应中没有 errcode：响应来自网关或代理；请检查代理和网络".to_owned(),
            Self::MissingField(field) => format!("响应中没有 {field}"),
            Self::InvalidField(field) => format!("响应中的 {field} 超出范围或类型不对"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// Decodes a response whose success is `errcode` 0 and nothing else.
pub(crate) fn acknowledgement(status: u16, body: &[u8]) -> Result<Result<(), ApiError>, DecodeError> {
    match envelope(status, body)? {
        (Some(0), _) => Ok(Ok(())),
        (None, _) => Err(DecodeError::NoErrcode),
        (Some(errcode), object) => Ok(Err(refusal(errcode, &object))),
    }
}

/// Decodes a response whose success shows in its members, which `read` checks. `errcode` may be absent then.
pub(crate) fn parse_envelope<T>(
    status: u16,
    body: &[u8],
    read: impl FnOnce(&Map<String, Value>) -> Result<T, DecodeError>,
) -> Result<Result<T, ApiError>, DecodeError> {
    match envelope(status, body)? {
        (None | Some(0), object) => read(&object).map(Ok),
        (Some(errcode), object) => Ok(Err(refusal(errcode, &object))),
    }
}

/// The object and its `errcode`. `null` counts as absent.
fn envelope(status: u16, body: &[u8]) -> Result<(Option<i64>, Map<String, Value>), DecodeError> {
    if status != 200 {
        return Err(DecodeError::UnexpectedStatus(status));
    }
    let Ok(object) = parse_object_without_duplicates(body) else { return damaged_refusal(body) };
    let errcode = object.get("errcode").map(parse_lenient_int).transpose();
    Ok((errcode.map_err(|NotANumber| DecodeError::InvalidField("errcode"))?.flatten(), object))
}

/// Decodes a body again that is not valid JSON: without a byte order mark, without invalid UTF-8, and with a space for
/// each control character. Such a response can be an API error. It is never a success.
fn damaged_refusal(body: &[u8]) -> Result<(Option<i64>, Map<String, Value>), DecodeError> {
    let text = String::from_utf8_lossy(body);
    let repaired = text.trim_start_matches('\u{feff}').replace(|c: char| c.is_ascii_control(), " ");
    let object = parse_object_without_duplicates(repaired.as_bytes()).unwrap_or_default();
    match object.get("errcode").map(parse_lenient_int) {
        Some(Ok(Some(errcode))) if errcode != 0 => Ok((Some(errcode), object)),
        _ if body.trim_ascii_start().starts_with(b"<") => Err(DecodeError::HtmlBody),
        _ => Err(DecodeError::NotJsonObject),
    }
}

fn refusal(errcode: i64, object: &Map<String, Value>) -> ApiError {
    let errmsg = object.get("errmsg").and_then(Value::as_str).unwrap_or_default();
    ApiError::new(ErrCode::new(errcode), errmsg)
}

/// A member is not a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotANumber;

/// A whole number as `7200`, `"7200"` or `7200.0`. `null` counts as absent. A larger number becomes the largest `i64`.
pub(crate) fn parse_lenient_int(value: &Value) -> Result<Option<i64>, NotANumber> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(float)) if float.fract() == 0.0 => Ok(Some(saturating(float))),
            _ => Err(NotANumber),
        },
        Value::String(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => Ok(Some(whole)),
            (Err(_), Ok(float)) if float.fract() == 0.0 => Ok(Some(saturating(float))),
            _ => Err(NotANumber),
        },
        _ => Err(NotANumber),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, which is what is wanted")]
fn saturating(float: f64) -> i64 {
    float as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof};

    use super::*;

    fn read(status: u16, body: impl AsRef<[u8]>) -> Result<Result<usize, ApiError>, DecodeError> {
        parse_envelope(status, body.as_ref(), |object| Ok(object.len()))
    }

    /// The errcode of an API error, for both kinds of endpoint.
    fn refused(body: impl AsRef<[u8]>) -> Option<ErrCode> {
        let of_members = read(200, body.as_ref()).map(Result::err);
        assert_eq!(of_members, acknowledgement(200, body.as_ref()).map(Result::err));
        Some(of_members.ok()??.errcode())
    }

    #[test]
    fn errcode_zero_is_success_of_both_kinds() {
        for body in [
            r#"{"errcode":0,"errmsg":"ok"}"#,
            r#"{"errcode":"0","errmsg":""}"#,
            r#"{"errcode":0.0,"errmsg":null}"#,
        ] {
            assert_eq!(read(200, body), Ok(Ok(2)));
            assert_eq!(acknowledgement(200, body.as_bytes()), Ok(Ok(())));
        }
    }

    #[test]
    fn without_errcode_only_members_can_show_success() {
        for (body, members) in [
            ("{}", 0),
            (r#"{"errcode":null}"#, 1),
            (r#"{"message":"no Route matched"}"#, 1),
            (r#"{"errmsg":"invalid openid"}"#, 1),
            (r#"{"code":500,"errmsg":"ok"}"#, 2),
        ] {
            assert_eq!(read(200, body), Ok(Ok(members)), "{body}");
            assert_eq!(acknowledgement(200, body.as_bytes()), Err(DecodeError::NoErrcode), "{body}");
        }
    }

    #[test]
    fn lenient_int_may_be_number_text_or_float() {
        for (json, expected) in [
            ("7200", Ok(Some(7200))),
            ("7200.0", Ok(Some(7200))),
            (r#""7200""#, Ok(Some(7200))),
            (r#""7200.0""#, Ok(Some(7200))),
            ("null", Ok(None)),
            ("1e400", Err(NotANumber)),
            ("7200.5", Err(NotANumber)),
            (r#""7200.5""#, Err(NotANumber)),
            ("9223372036854775808", Ok(Some(i64::MAX))),
            ("[]", Err(NotANumber)),
        ] {
            let value = serde_json::from_str(json).unwrap_or(Value::Bool(true));
            assert_eq!(parse_lenient_int(&value), expected, "{json}");
        }
    }

    #[test]
    fn response_keeps_its_date_and_shows_no_body() {
        let date = Some("Tue, 24 Nov 2026 04:19:43 GMT".to_owned());
        let response = RawResponse::new(200, b"token").with_date(date.clone());
        assert_eq!((format!("{response:?}"), response.date), ("RawResponse(200, 5 bytes)".to_owned(), date));
    }

    #[test]
    fn any_other_errcode_is_a_refusal() {
        for (body, errcode) in [
            (r#"{"errcode":40001,"errmsg":"x"}"#, 40001),
            (r#"{"errmsg":"x","errcode":"-1"}"#, -1),
            (r#"{"errcode":268487001}"#, 268_487_001),
            (r#"{"errcode":123456789,"errmsg":7}"#, 123_456_789),
        ] {
            assert_eq!(refused(body), Some(ErrCode::new(errcode)), "{body}");
        }
    }

    #[test]
    fn a_damaged_refusal_is_a_refusal() {
        for body in [
            b"{\"errcode\":43101,\"errmsg\":\"user\x01 refuse\"}".as_slice(),
            b"{\"errcode\":43101,\"errmsg\":\"user\r\n\trefuse\"}",
            // GBK.
            b"{\"errcode\":43101,\"errmsg\":\"\xd3\xc3\xbb\xa7\xbe\xdc\xbe\xf8\"}",
            b"\xef\xbb\xbf{\"errcode\":43101,\"errmsg\":\"x\"}",
            b"{\"errcode\":\"43101\",\"errmsg\":\"x\"}\0",
        ] {
            assert_eq!(refused(body), Some(ErrCode::new(43101)), "{body:?}");
        }
        let rid = b"{\"errcode\":43101,\"errmsg\":\"no\x1b rid: 6004f3da-1529ba72-5c345f67\"}";
        let Ok(Err(refusal)) = acknowledgement(200, rid) else { panic!("not refused") };
        assert_eq!(refusal.errmsg(), "no  rid: 6004f3da-1529ba72-5c345f67");
        assert_eq!(refusal.trace_id().unwrap().as_str(), "6004f3da-1529ba72-5c345f67");
    }

    #[test]
    fn a_damaged_body_is_only_a_refusal() {
        for body in [
            b"{\"errcode\":0,\"errmsg\":\"o\x01k\"}".as_slice(),
            b"\xef\xbb\xbf{\"errcode\":0,\"errmsg\":\"ok\"}",
            b"\xef\xbb\xbf{\"access_token\":\"T\",\"expires_in\":7200}",
            b"{\"errmsg\":\"\x01\"}",
            // The code of something else: nested as text or as an object.
            b"{\"errmsg\":\"\x01{\\\"errcode\\\":43101}\"}",
            b"{\"errmsg\":\"\xff\\\",\\\"errcode\\\":43101,\\\"x\\\":\\\"\"}",
            b"{\"errcode\":0,\"data\":{\"errcode\":43101,\"errmsg\":\"\x01\"}}",
            b"[{\"errcode\":43101,\"errmsg\":\"\x01\"}]",
            b"{\"errcode\":0,\"errmsg\":\"\x01\",\"errcode\":43101}",
            b"{\"errcode\":43101,\"errmsg\":\"\x01",
            b"{\"errcode\":43\x00101,\"errmsg\":\"x\"}",
            b"{\"errcode\":43\xff101,\"errmsg\":\"x\"}",
            b"{\"err\x01code\":43101}",
        ] {
            assert_eq!(read(200, body), Err(DecodeError::NotJsonObject), "{body:?}");
            assert_eq!(acknowledgement(200, body), Err(DecodeError::NotJsonObject), "{body:?}");
        }
        assert_eq!(
            read(500, b"{\"errcode\":43101,\"errmsg\":\"\x01\"}"),
            Err(DecodeError::UnexpectedStatus(500))
        );
    }

    #[test]
    fn other_responses_are_decode_errors() {
        for (status, body, expected) in [
            (500, r#"{"errcode":0}"#, DecodeError::UnexpectedStatus(500)),
            (302, "", DecodeError::UnexpectedStatus(302)),
            (204, "", DecodeError::UnexpectedStatus(204)),
            (200, "<html>login</html>", DecodeError::HtmlBody),
            (200, "\n <!DOCTYPE html>", DecodeError::HtmlBody),
            (200, "", DecodeError::NotJsonObject),
            (200, r#"{"errcode":0"#, DecodeError::NotJsonObject),
            (200, r#"{"errcode":0,"errcode":40001}"#, DecodeError::NotJsonObject),
            (200, r#"{"errcode":true}"#, DecodeError::InvalidField("errcode")),
            (200, r#"{"errcode":"ok"}"#, DecodeError::InvalidField("errcode")),
            (200, r#"{"errcode":"NaN"}"#, DecodeError::InvalidField("errcode")),
            (200, r#"{"errcode":0.5}"#, DecodeError::InvalidField("errcode")),
        ] {
            assert_eq!(read(status, body), Err(expected), "{status} {body}");
        }
    }

    /// An object with an errcode and any bytes as its text, with or without a byte order mark.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let mark = prop_oneof![Just(b"".as_slice()), Just(b"\xef\xbb\xbf".as_slice())];
        let errcode = prop_oneof!["0", "\"0\"", "0\\.0", "null", "-?[1-9][0-9]{0,5}"];
        (mark, errcode, any::<Vec<u8>>()).prop_map(|(mark, errcode, errmsg)| {
            let head = format!("{{\"errcode\":{errcode},\"errmsg\":\"");
            [mark, head.as_bytes(), &errmsg, b"\"}"].concat()
        })
    }

    proptest::proptest! {
        #[test]
        fn only_strict_json_is_success(body in prop_oneof![any::<Vec<u8>>(), damaged()]) {
            if parse_object_without_duplicates(&body).is_err() {
                prop_assert!(!matches!(read(200, &body), Ok(Ok(_))));
                prop_assert!(!matches!(acknowledgement(200, &body), Ok(Ok(()))));
            }
        }

        #[test]
        fn only_errcode_zero_acknowledges(body in damaged()) {
            if acknowledgement(200, &body) == Ok(Ok(())) {
                let object = parse_object_without_duplicates(&body).unwrap();
                prop_assert_eq!(object.get("errcode").map(parse_lenient_int), Some(Ok(Some(0))));
            }
        }
    }
}
