//! The error that Weixin returned for a call, and the trace id in it.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::errcode::{ErrCode, Operation, Remedy};
use crate::redact::sanitize_line;

const MAX_ERRMSG_CHARS: usize = 512;
const MAX_TRACE_ID_BYTES: usize = 64;
const REDACTED: &str = "***";

/// An error that Weixin returned: code and text. The text is for people. It is bounded and fits on one log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    errcode: ErrCode,
    errmsg: String,
    /// Whether the text was cut off, perhaps within a secret.
    is_cut: bool,
    trace_id: Option<TraceId>,
}

impl ApiError {
    /// Makes an error from code and text. The remote side chose the text, so control characters and marks that
    /// reorder a line become spaces. Text beyond 512 characters is cut off.
    pub fn new(errcode: ErrCode, errmsg: &str) -> Self {
        // The trace id stands at the end, so it is looked for before anything is cut off.
        let trace_id = TraceId::find_in(errmsg);
        let is_cut = errmsg.chars().nth(MAX_ERRMSG_CHARS).is_some();
        let errmsg = sanitize_line(errmsg.chars().take(MAX_ERRMSG_CHARS));
        Self { errcode, errmsg, is_cut, trace_id }
    }

    /// The code. Branch on it and on nothing else.
    pub const fn errcode(&self) -> ErrCode {
        self.errcode
    }

    /// Weixin's text, trace id included.
    pub fn errmsg(&self) -> &str {
        &self.errmsg
    }

    /// The trace id (`rid`) that Weixin's support asks for.
    pub const fn trace_id(&self) -> Option<&TraceId> {
        self.trace_id.as_ref()
    }

    /// The address to put on the app's allow-list, where the code asks for that and the text names one. IPv4
    /// is preferred, as the console's list takes it.
    pub fn blocked_ip(&self) -> Option<IpAddr> {
        if self.errcode.remedy(Operation::FetchToken) != Remedy::AllowIp {
            return None;
        }
        let addresses = || self.errmsg.split([' ', ',', ';', '[', ']', '(', ')']).filter_map(address);
        addresses().find(IpAddr::is_ipv4).or_else(|| addresses().next())
    }

    /// The same error with `secret` replaced by `***`. A response may echo the request.
    pub fn redact(&self, secret: &str) -> Self {
        if secret.is_empty() {
            return self.clone();
        }
        let mut errmsg = self.errmsg.replace(secret, REDACTED);
        if self.is_cut {
            strip_truncated_secret(&mut errmsg, secret);
        }
        if let Some((end, _)) = errmsg.char_indices().nth(MAX_ERRMSG_CHARS) {
            errmsg.truncate(end);
        }
        let trace_id = self.trace_id.as_ref().map(|id| id.redact(secret));
        Self { errcode: self.errcode, errmsg, is_cut: self.is_cut, trace_id }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errcode {}", self.errcode)?;
        if self.errmsg.is_empty() { Ok(()) } else { write!(f, ": {}", self.errmsg) }
    }
}

impl std::error::Error for ApiError {}

/// Removes the start of a secret that the length limit cut in two.
fn strip_truncated_secret(text: &mut String, secret: &str) {
    let cut = text
        .char_indices()
        .map(|(at, _)| at)
        .find(|&at| text.get(at..).is_some_and(|end| secret.starts_with(end)));
    if let Some(at) = cut {
        text.truncate(at);
        text.push_str(REDACTED);
    }
}

/// An IPv4 address mapped into IPv6 counts as IPv4; `::` is punctuation.
fn address(word: &str) -> Option<IpAddr> {
    let ip: IpAddr = word.trim_end_matches('.').parse().ok()?;
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}

/// Weixin's id of one call, which its support asks for: a `rid`, or a `hint` in older responses. Printable ASCII, at
/// most 64 characters, unchanged.
#[derive(Debug, derive_more::Display, Clone, PartialEq, Eq, Hash, Serialize)]
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
    fn redact(&self, secret: &str) -> Self {
        let clean = self.0.replace(secret, REDACTED);
        let fits = clean.len() <= MAX_TRACE_ID_BYTES && !secret.contains(&self.0);
        Self(if fits { clean } else { REDACTED.to_owned() })
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
    let end =
        inside.char_indices().take(2 * MAX_TRACE_ID_BYTES).find(|&(_, c)| c == ']').map(|(at, _)| at)?;
    let inside = inside.get(..end)?.trim();
    bounded(inside.strip_prefix("req_id:").unwrap_or(inside).trim())
}

fn bounded(found: &str) -> Option<&str> {
    let fits =
        !found.is_empty() && found.len() <= MAX_TRACE_ID_BYTES && found.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use serde::Deserialize;

    use super::*;

    fn api_error(errmsg: &str) -> ApiError {
        ApiError::new(ErrCode::INVALID_CREDENTIAL, errmsg)
    }

    #[test]
    fn display_has_code_and_text_on_one_line() {
        let shown = api_error("invalid credential rid: 6004f3da-1529ba72-5c345f67").to_string();
        assert_eq!(shown, "errcode 40001: invalid credential rid: 6004f3da-1529ba72-5c345f67");
        assert_eq!(api_error("").to_string(), "errcode 40001");
        assert_eq!(api_error("a\r\nb\u{1b}[31mc\u{2028}d\u{202e}e\0").errmsg(), "a  b [31mc d e ");
    }

    #[test]
    fn cuts_between_characters_and_keeps_the_trace_id_behind_the_cut() {
        let long = format!("{} rid: 6004f3da-1529ba72-5c345f67", "密".repeat(600));
        let error = api_error(&long);
        assert_eq!(error.errmsg(), "密".repeat(MAX_ERRMSG_CHARS));
        assert_eq!(error.trace_id().unwrap().as_str(), "6004f3da-1529ba72-5c345f67");
    }

    #[test]
    fn names_the_blocked_address() {
        let cases = [
            (40164, "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist", Some("203.0.113.7")),
            (40164, "invalid ip 203.0.113.9, not in whitelist hint: [KJZfAa0644e575]", Some("203.0.113.9")),
            (40164, "invalid ip ::ffff:203.0.113.7, not in whitelist", Some("203.0.113.7")),
            (40164, "invalid ip 2001:db8::7 ipv6 2001:db8::7, not in whitelist", Some("2001:db8::7")),
            (40164, "ipv6 2001:db8::7 ip 203.0.113.9.", Some("203.0.113.9")),
            (61004, "access clientip is not registered: 203.0.113.7", Some("203.0.113.7")),
            (40164, "invalid ip, not in whitelist :: 256.1.1.1", None),
            (40013, "invalid appid 203.0.113.7", None),
        ];
        for (code, errmsg, expected) in cases {
            let expected = expected.map(|ip| ip.parse::<IpAddr>().unwrap());
            assert_eq!(ApiError::new(ErrCode::new(code), errmsg).blocked_ip(), expected, "{errmsg}");
        }
    }

    #[test]
    fn echoed_secret_is_removed() {
        for (errmsg, secret, expected, trace_id) in [
            ("bad SECRET1 and SECRET1 again", "SECRET1", "bad *** and *** again", None),
            ("bad rid: SECRET1", "SECRET1", "bad rid: ***", Some("***")),
            ("bad rid: x-SECRET1-y", "SECRET1", "bad rid: x-***-y", Some("x-***-y")),
            ("nothing here rid: 61c1a406", "SECRET1", "nothing here rid: 61c1a406", Some("61c1a406")),
            // A part of the secret is no trace id.
            ("rid: 61c1a406", "xx61c1a406yy", "rid: 61c1a406", Some("***")),
            ("kept", "", "kept", None),
        ] {
            let clean = api_error(errmsg).redact(secret);
            assert_eq!((clean.errmsg(), clean.trace_id().map(TraceId::as_str)), (expected, trace_id));
        }
    }

    #[test]
    fn truncated_secret_is_removed() {
        let secret = "s3cr3t".repeat(100);
        assert_eq!(api_error(&format!("bad token {secret}")).redact(&secret).errmsg(), "bad token ***");
        // A secret that was replaced before has made the text shorter.
        let twice = api_error(&format!("{} T0KEN {secret}", "x".repeat(400))).redact("T0KEN").redact(&secret);
        assert!(twice.errmsg().ends_with("x *** ***"), "{twice}");
        // A text that was not cut keeps its end, also with the maximum length.
        let whole = format!("{}s3cr", "x".repeat(MAX_ERRMSG_CHARS - 4));
        assert_eq!(api_error(&whole).redact(&secret).errmsg(), whole);
        assert_eq!(api_error("bad s3cr").redact(&secret).errmsg(), "bad s3cr");
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_stays_on_one_line(text in any::<String>(), times in 1_usize..200) {
            let error = api_error(&text.repeat(times));
            prop_assert!(error.errmsg().chars().count() <= MAX_ERRMSG_CHARS);
            let shown = error.to_string();
            prop_assert_eq!(sanitize_line(shown.chars()), shown);
        }

        #[test]
        fn secret_is_removed_at_any_position(
            before in "[ -~密]{0,600}",
            secret in "[a-zA-Z0-9_-]{8,80}",
            hint in any::<bool>(),
        ) {
            let errmsg = format!("{before}{}{secret} rid: {secret}", if hint { " hint: [" } else { "" });
            let clean = api_error(&errmsg).redact(&secret);
            let everything = format!("{clean:?}");
            prop_assert!(!everything.contains(&secret));
            prop_assert!(clean.errmsg().chars().count() <= MAX_ERRMSG_CHARS);
        }
    }

    #[derive(Deserialize)]
    struct ErrorResponse {
        errcode: ErrCode,
        errmsg: String,
        trace_id: Option<String>,
        blocked_ip: Option<IpAddr>,
    }

    fn found(errmsg: &str) -> Option<String> {
        TraceId::find_in(errmsg).map(|id| id.to_string())
    }

    #[test]
    fn real_responses_are_parsed() {
        let file = include_str!("../tests/fixtures/error_responses.jsonl");
        let responses: Vec<ErrorResponse> =
            file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(responses.len(), 50);
        for response in responses {
            let error = ApiError::new(response.errcode, &response.errmsg);
            assert_eq!(error.errmsg(), response.errmsg);
            assert_eq!(
                error.trace_id().map(TraceId::as_str),
                response.trace_id.as_deref(),
                "{}",
                response.errmsg
            );
            assert_eq!(error.blocked_ip(), response.blocked_ip, "{}", response.errmsg);
            assert!(response.errcode.info().is_some(), "{}", response.errcode);
        }
    }

    #[test]
    fn trace_id_is_found_in_odd_texts() {
        let long = format!("rid: {}", "7".repeat(MAX_TRACE_ID_BYTES + 1));
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
            prop_assert!(id.len() <= MAX_TRACE_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn rid_at_the_end_is_found_after_any_text(
            text in any::<String>(),
            rid in "[0-9][0-9a-f]{7}-[0-9a-f]{8}-[0-9a-f]{8}",
        ) {
            prop_assert_eq!(found(&format!("{text} rid: {rid}")), Some(rid));
        }
    }
}
