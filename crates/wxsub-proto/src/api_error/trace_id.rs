//! The trace id that Weixin puts at the end of most error texts.

use std::fmt;

use serde::Serialize;

const MAX_LEN: usize = 64;

/// Weixin's id of one call, which its support asks for: a `rid`, or a `hint` in older responses. Printable ASCII, at
/// most 64 characters, unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TraceId(String);

impl TraceId {
    /// Makes the id from its text. `None` unless it is 1 to 64 characters of printable ASCII without spaces.
    pub fn new(text: &str) -> Option<Self> {
        bounded(text).map(|text| Self(text.to_owned()))
    }

    /// Finds the trace id in an error text. The last `rid:` that has one wins, because Weixin appends its own
    /// to whatever it quotes; without any, the last `hint: [..]` or `hints: [..]`.
    pub fn find_in(errmsg: &str) -> Option<Self> {
        last_after(errmsg, "rid:", rid)
            .or_else(|| last_after(errmsg, "hint:", hint))
            .or_else(|| last_after(errmsg, "hints:", hint))
            .map(|found| Self(found.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id with `secret` replaced by `***`, also if the id is only a part of the secret.
    pub(super) fn without(&self, secret: &str) -> Self {
        let clean = self.0.replace(secret, super::REDACTED);
        let fits = clean.len() <= MAX_LEN && !secret.contains(&self.0);
        Self(if fits { clean } else { super::REDACTED.to_owned() })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads the text after each whole word `label`, starting with the last one.
fn last_after<'a>(
    text: &'a str,
    label: &'static str,
    read: fn(&'a str) -> Option<&'a str>,
) -> Option<&'a str> {
    text.rmatch_indices(label).find_map(|(at, _)| {
        let (before, from_label) = text.split_at_checked(at)?;
        let in_a_word = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if in_a_word { None } else { read(from_label.strip_prefix(label)?.trim_start()) }
    })
}

/// `6004f3da-1529ba72-5c345f67`, its start, or the form of the developer tools.
fn rid(text: &str) -> Option<&str> {
    let end =
        text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(text.len());
    // A word without digits is prose that happens to follow the label.
    bounded(text.get(..end)?).filter(|found| found.contains(|c: char| c.is_ascii_digit()))
}

/// `[dLTTea0566vr46!]` or `[ req_id: hDexla0781ns89 ]`.
fn hint(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    // Nothing that ends further away can be a trace id.
    let end = inside.char_indices().take(2 * MAX_LEN).find(|&(_, c)| c == ']').map(|(at, _)| at)?;
    let inside = inside.get(..end)?.trim();
    bounded(inside.strip_prefix("req_id:").unwrap_or(inside).trim())
}

fn bounded(found: &str) -> Option<&str> {
    let fits = !found.is_empty() && found.len() <= MAX_LEN && found.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use serde::Deserialize;

    use super::{MAX_LEN, TraceId};
    use crate::api_error::ApiError;
    use crate::errcode::ErrCode;

    #[derive(Deserialize)]
    struct Answer {
        errcode: ErrCode,
        errmsg: String,
        trace_id: Option<String>,
        blocked_ip: Option<std::net::IpAddr>,
    }

    fn found(errmsg: &str) -> Option<String> {
        TraceId::find_in(errmsg).map(|id| id.to_string())
    }

    #[test]
    fn real_answers_are_read_right() {
        let file = include_str!("../../tests/fixtures/error_answers.jsonl");
        let answers: Vec<Answer> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 50);
        for answer in answers {
            let refusal = ApiError::new(answer.errcode, &answer.errmsg);
            assert_eq!(refusal.errmsg(), answer.errmsg);
            assert_eq!(
                refusal.trace_id().map(TraceId::as_str),
                answer.trace_id.as_deref(),
                "{}",
                answer.errmsg
            );
            assert_eq!(refusal.blocked_ip(), answer.blocked_ip, "{}", answer.errmsg);
            assert!(answer.errcode.entry().is_some(), "{}", answer.errcode);
        }
    }

    #[test]
    fn a_piece_of_the_secret_is_no_trace_id() {
        let refusal = ApiError::new(ErrCode::new(40001), "rid: 61c1a406");
        assert_eq!(refusal.redact("xx61c1a406yy").trace_id().map(TraceId::as_str), Some("***"));
        assert_eq!(refusal.redact("another").trace_id().map(TraceId::as_str), Some("61c1a406"));
    }

    #[test]
    fn odd_texts() {
        let long = format!("rid: {}", "7".repeat(MAX_LEN + 1));
        let cases = [
            ("access_token expired rid: 61c1a406-2e316837-103", Some("61c1a406-2e316837-103")),
            ("rid:61c1a406", Some("61c1a406")),
            ("\"rid: 61c1a406-2e316837-10300000\", see below", Some("61c1a406-2e316837-10300000")),
            ("参数错误rid: 61c1a406", Some("61c1a406")),
            ("rid: 61c1a406 rid: 71c1a406", Some("71c1a406")),
            ("rid: 61c1a406 rid:", Some("61c1a406")),
            ("hint: [a1] rid: 61c1a406", Some("61c1a406")),
            ("hint: [a1!] rid:", Some("a1!")),
            ("hints:[req_id:a1]", Some("a1")),
            (
                "hint: [ req_id: 0123456789012345678901234567890123456789012345678901234567890123 ]",
                Some("0123456789012345678901234567890123456789012345678901234567890123"),
            ),
            ("rid: please keep it", None),
            ("grid: 61c1a406", None),
            ("my_rid: 61c1a406", None),
            ("hint: []", None),
            ("hint: [ req_id: ]", None),
            ("hint: [a b]", None),
            ("hint: [密]", None),
            ("hint: [a1", None),
            ("hint: a1", None),
            ("rid", None),
            ("", None),
            (long.as_str(), None),
        ];
        for (errmsg, expected) in cases {
            assert_eq!(found(errmsg).as_deref(), expected, "{errmsg}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_short_id_or_none(text in any::<String>(), label in "(rid|hints?):? ?\\[?") {
            let id = found(&format!("{text} {label}{text}")).unwrap_or_default();
            prop_assert!(id.len() <= MAX_LEN && id.bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn a_rid_at_the_end_is_found_whatever_stands_before(
            text in any::<String>(),
            rid in "[0-9][0-9a-f]{7}-[0-9a-f]{8}-[0-9a-f]{8}",
        ) {
            prop_assert_eq!(found(&format!("{text} rid: {rid}")), Some(rid));
        }
    }
}
