//! The envelope of every reply: HTTP 200 and a JSON object, in which a non-zero `errcode` is a refusal.

use serde_json::{Map, Value};

use super::strict_object;
use crate::{ErrCode, Refusal};

/// A reply as it came: HTTP status and body, and when it was written. `Debug` does not show the body, which may be a token.
#[derive(Clone, PartialEq, Eq)]
pub struct RawReply<B = Vec<u8>> {
    /// The HTTP status.
    pub status: u16,
    /// The `Date` header, as it came: what time it is where the reply comes from.
    pub date: Option<String>,
    /// The bytes of the body.
    pub body: B,
}

impl<B> RawReply<B> {
    /// A reply of this status and body, without a date.
    pub fn new(status: u16, body: B) -> Self {
        Self { status, date: None, body }
    }

    /// The reply with this `Date` header.
    #[must_use]
    pub fn dated(self, date: Option<String>) -> Self {
        Self { date, ..self }
    }
}

impl<B: AsRef<[u8]>> std::fmt::Debug for RawReply<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawReply({}, {} bytes)", self.status, self.body.as_ref().len())
    }
}

/// What Weixin said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way to answer")]
pub enum Reply<T> {
    /// It did what was asked.
    Done(T),
    /// It refused, with an error code.
    Refused(Refusal),
}

/// A reply that is not Weixin's word: nobody can tell from it whether the request was carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Weixin always answers 200; another status comes from something in between, or from a server in trouble.
    #[error(
        "HTTP status {0} instead of 200, so something between here and Weixin answered; check proxy and network"
    )]
    Status(u16),
    /// The body is a web page: a captive portal or a proxy answered.
    #[error("a web page instead of JSON, so a proxy or captive portal answered; check proxy and network")]
    Html,
    /// The body is not one JSON object, or has a name twice.
    #[error("the body is not one JSON object with every name once")]
    NotAnObject,
    /// A member is absent that success must have.
    #[error("{0} is missing from the reply")]
    Missing(&'static str),
    /// A member is there and makes no sense.
    #[error("{0} in the reply is out of its bounds or of the wrong kind")]
    Odd(&'static str),
}

/// Reads the envelope; on success gives the members of the object.
pub(crate) fn members(status: u16, body: &[u8]) -> Result<Reply<Map<String, Value>>, Unreadable> {
    if status != 200 {
        return Err(Unreadable::Status(status));
    }
    let object = strict_object(body).map_err(|_| match body.trim_ascii_start().first() {
        Some(b'<') => Unreadable::Html,
        _ => Unreadable::NotAnObject,
    })?;
    match object.get("errcode").map(number) {
        None | Some(Ok(None | Some(0))) => Ok(Reply::Done(object)),
        Some(Ok(Some(errcode))) => {
            let errmsg = object.get("errmsg").and_then(Value::as_str).unwrap_or_default();
            Ok(Reply::Refused(Refusal::new(ErrCode::new(errcode), errmsg)))
        }
        Some(Err(NotANumber)) => Err(Unreadable::Odd("errcode")),
    }
}

/// A member that should be a whole number and is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotANumber;

/// A whole number in any of the ways they were seen: `7200`, `"7200"`, `7200.0`; `null` counts as absent. What is larger
/// than an `i64` becomes the largest `i64`.
pub(crate) fn number(value: &Value) -> Result<Option<i64>, NotANumber> {
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
    use super::*;

    fn read(status: u16, body: &str) -> Result<Reply<usize>, Unreadable> {
        members(status, body.as_bytes()).map(|reply| match reply {
            Reply::Done(object) => Reply::Done(object.len()),
            Reply::Refused(refusal) => Reply::Refused(refusal),
        })
    }

    #[test]
    fn success_is_errcode_zero_or_none() {
        for body in [
            r#"{"errcode":0,"errmsg":"ok"}"#,
            r#"{"errcode":"0","errmsg":""}"#,
            r#"{"errcode":0.0,"errmsg":null}"#,
        ] {
            assert_eq!(read(200, body), Ok(Reply::Done(2)));
        }
        assert_eq!(read(200, "{}"), Ok(Reply::Done(0)));
        assert_eq!(read(200, r#"{"errcode":null}"#), Ok(Reply::Done(1)));
    }

    #[test]
    fn numbers_come_in_many_ways() {
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
            assert_eq!(number(&value), expected, "{json}");
        }
    }

    #[test]
    fn a_reply_keeps_its_date() {
        let date = Some("Tue, 24 Nov 2026 04:19:43 GMT".to_owned());
        assert_eq!(RawReply::new(200, b"{}").dated(date.clone()).date, date);
    }

    #[test]
    fn debug_shows_no_body() {
        assert_eq!(format!("{:?}", RawReply::new(200, b"token".to_vec())), "RawReply(200, 5 bytes)");
    }

    #[test]
    fn any_other_errcode_is_a_refusal() {
        for (body, errcode) in [
            (r#"{"errcode":40001,"errmsg":"x"}"#, 40001),
            (r#"{"errmsg":"x","errcode":"-1"}"#, -1),
            (r#"{"errcode":268487001}"#, 268_487_001),
            (r#"{"errcode":123456789,"errmsg":7}"#, 123_456_789),
        ] {
            let Ok(Reply::Refused(refusal)) = read(200, body) else { panic!("{body}") };
            assert_eq!(refusal.errcode(), ErrCode::new(errcode));
        }
    }

    #[test]
    fn everything_else_is_unreadable() {
        for (status, body, expected) in [
            (500, r#"{"errcode":0}"#, Unreadable::Status(500)),
            (302, "", Unreadable::Status(302)),
            (204, "", Unreadable::Status(204)),
            (200, "<html>login</html>", Unreadable::Html),
            (200, "\n <!DOCTYPE html>", Unreadable::Html),
            (200, "", Unreadable::NotAnObject),
            (200, r#"{"errcode":0"#, Unreadable::NotAnObject),
            (200, r#"{"errcode":0,"errcode":40001}"#, Unreadable::NotAnObject),
            (200, r#"{"errcode":true}"#, Unreadable::Odd("errcode")),
            (200, r#"{"errcode":"ok"}"#, Unreadable::Odd("errcode")),
            (200, r#"{"errcode":"NaN"}"#, Unreadable::Odd("errcode")),
            (200, r#"{"errcode":0.5}"#, Unreadable::Odd("errcode")),
        ] {
            assert_eq!(read(status, body), Err(expected), "{status} {body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(status: u16, body: Vec<u8>) {
            let _reply = members(status, &body);
        }
    }
}
