//! The error that Weixin returned for a call.

mod trace_id;

use std::fmt;
use std::net::IpAddr;

pub use trace_id::TraceId;

use crate::errcode::{ErrCode, Operation, Remedy};

const MAX_CHARS: usize = 512;
const REDACTED: &str = "***";

/// An error that Weixin returned: code and text. The text is for people. It is bounded and fits on one log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    errcode: ErrCode,
    errmsg: String,
    trace_id: Option<TraceId>,
}

impl ApiError {
    /// Makes an error from code and text. The remote side chose the text, so control characters and marks that
    /// reorder a line become spaces. Text beyond 512 characters is cut off.
    pub fn new(errcode: ErrCode, errmsg: &str) -> Self {
        // The trace id stands at the end, so it is looked for before anything is cut off.
        let trace_id = TraceId::find_in(errmsg);
        let errmsg =
            errmsg.chars().take(MAX_CHARS).map(|c| if is_unsafe_in_logs(c) { ' ' } else { c }).collect();
        Self { errcode, errmsg, trace_id }
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
    #[must_use]
    pub fn redact(&self, secret: &str) -> Self {
        if secret.is_empty() {
            return self.clone();
        }
        let mut errmsg = self.errmsg.replace(secret, REDACTED);
        if self.errmsg.chars().count() == MAX_CHARS {
            strip_truncated_secret(&mut errmsg, secret);
        }
        if let Some((end, _)) = errmsg.char_indices().nth(MAX_CHARS) {
            errmsg.truncate(end);
        }
        let trace_id = self.trace_id.as_ref().map(|id| id.without(secret));
        Self { errcode: self.errcode, errmsg, trace_id }
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

/// Returns whether this is a control character, a line separator, or a mark that changes the direction of what follows.
#[must_use]
pub fn is_unsafe_in_logs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{ApiError, IpAddr, MAX_CHARS};
    use crate::errcode::ErrCode;

    fn refusal(errmsg: &str) -> ApiError {
        ApiError::new(ErrCode::INVALID_CREDENTIAL, errmsg)
    }

    #[test]
    fn shows_code_and_text_on_one_line() {
        let shown = refusal("invalid credential rid: 6004f3da-1529ba72-5c345f67").to_string();
        assert_eq!(shown, "errcode 40001: invalid credential rid: 6004f3da-1529ba72-5c345f67");
        assert_eq!(refusal("").to_string(), "errcode 40001");
        assert_eq!(refusal("a\r\nb\u{1b}[31mc\u{2028}d\u{202e}e\0").errmsg(), "a  b [31mc d e ");
    }

    #[test]
    fn cuts_between_characters_and_keeps_the_trace_id_behind_the_cut() {
        let long = format!("{} rid: 6004f3da-1529ba72-5c345f67", "密".repeat(600));
        let refusal = refusal(&long);
        assert_eq!(refusal.errmsg(), "密".repeat(MAX_CHARS));
        assert_eq!(refusal.trace_id().unwrap().as_str(), "6004f3da-1529ba72-5c345f67");
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
    fn leaves_nothing_of_an_echoed_secret() {
        let cases = [
            ("bad SECRET1 and SECRET1 again", "bad *** and *** again", None),
            ("bad rid: SECRET1", "bad rid: ***", Some("***")),
            ("bad rid: x-SECRET1-y", "bad rid: x-***-y", Some("x-***-y")),
            ("nothing here rid: 61c1a406", "nothing here rid: 61c1a406", Some("61c1a406")),
        ];
        for (errmsg, expected, trace_id) in cases {
            let clean = refusal(errmsg).redact("SECRET1");
            assert_eq!(clean.errmsg(), expected);
            assert_eq!(clean.trace_id().map(super::TraceId::as_str), trace_id);
        }
        assert_eq!(refusal("kept").redact(""), refusal("kept"));
    }

    #[test]
    fn leaves_nothing_of_a_secret_that_the_cut_went_through() {
        let secret = "s3cr3t".repeat(100);
        assert_eq!(refusal(&format!("bad token {secret}")).redact(&secret).errmsg(), "bad token ***");
        // A text that was not cut ends as it likes.
        assert_eq!(refusal("bad s3cr").redact(&secret).errmsg(), "bad s3cr");
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_stays_on_one_line(text in any::<String>(), times in 1_usize..200) {
            let refusal = refusal(&text.repeat(times));
            prop_assert!(refusal.errmsg().chars().count() <= MAX_CHARS);
            prop_assert!(!refusal.to_string().chars().any(super::is_unsafe_in_logs));
        }

        #[test]
        fn a_secret_is_gone_wherever_it_stood(
            before in "[ -~密]{0,600}",
            secret in "[a-zA-Z0-9_-]{8,80}",
            hint in any::<bool>(),
        ) {
            let errmsg = format!("{before}{}{secret} rid: {secret}", if hint { " hint: [" } else { "" });
            let clean = refusal(&errmsg).redact(&secret);
            let everything = format!("{clean:?}");
            prop_assert!(!everything.contains(&secret));
            prop_assert!(clean.errmsg().chars().count() <= MAX_CHARS);
        }
    }
}
