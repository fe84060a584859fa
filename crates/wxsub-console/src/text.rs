//! Texts of the pages: what comes from outside, times, durations and openids.

use maud::{Markup, html};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{Language, OpenId};

/// Maximum number of characters that a page shows of a text from outside.
const MAX_TEXT_CHARS: usize = 500;

/// A text from outside for the value of a field.
pub(crate) fn plain(text: &str) -> String {
    sanitize_line(text.chars().take(MAX_TEXT_CHARS))
}

/// A text from outside on one line. It cannot change the direction or the order of the text around it.
pub(crate) fn bdi(text: &str) -> Markup {
    let mut rest = text.chars();
    let line = sanitize_line(rest.by_ref().take(MAX_TEXT_CHARS));
    html! { bdi { (line) @if rest.next().is_some() { "…" } } }
}

/// An openid of which only the ends are left; nothing of a short one.
fn mask(openid: &OpenId) -> String {
    let (openid, length) = (openid.as_str(), openid.as_str().len());
    let ends = openid.get(..3).zip(openid.get(length.saturating_sub(2)..)).filter(|_| length >= 12);
    ends.map_or_else(|| "•••".to_owned(), |(start, end)| format!("{start}…{end}"))
}

/// An openid of which only the ends are shown.
pub(crate) fn masked(openid: &OpenId) -> Markup {
    html! { code { (mask(openid)) } }
}

/// A text in which this openid is masked.
pub(crate) fn without_openid(text: &str, openid: Option<&OpenId>) -> String {
    match openid {
        Some(openid) => text.replace(openid.as_str(), &mask(openid)),
        None => text.to_owned(),
    }
}

/// A time in UTC.
pub(crate) fn timestamp(at: UnixMillis) -> Markup {
    let text = rfc3339::format(at);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    html! { time datetime=(text) { (date) " " (time.get(..8).unwrap_or(time)) " UTC" } }
}

/// How long ago a time was, or how long it is until then, and the time.
pub(crate) fn relative(at: UnixMillis, now: UnixMillis, language: Language) -> Markup {
    let (seconds, is_past) = (at.get().abs_diff(now.get()) / 1000, at.get() <= now.get());
    let length = duration(seconds, language);
    let words = match (language, is_past) {
        (Language::Chinese, true) => format!("{length}前"),
        (Language::Chinese, false) => format!("{length}后"),
        (_, true) => format!("{length} ago"),
        (_, false) => format!("in {length}"),
    };
    html! { span.when { (words) " " span.quiet { (timestamp(at)) } } }
}

/// A duration in seconds, as its largest unit, or two if the first is small.
pub(crate) fn duration(seconds: u64, language: Language) -> String {
    const UNITS: [(u64, &str, &str); 4] =
        [(86_400, "d", "天"), (3600, "h", "小时"), (60, "min", "分钟"), (1, "s", "秒")];
    let name = |english, chinese| match language {
        Language::Chinese => chinese,
        _ => english,
    };
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, english, chinese) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count} {}", name(english, chinese)));
            if count >= 10 || parts.len() == 2 {
                break;
            }
        } else if !parts.is_empty() {
            break;
        }
    }
    match parts.is_empty() {
        true => format!("0 {}", name("s", "秒")),
        false => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_one_harmless_line() {
        let text = bdi("<b onclick='x'>&\u{202e}\r\n\u{2028}😀").into_string();
        assert_eq!(text, "<bdi>&lt;b onclick='x'&gt;&amp;    😀</bdi>");
        let long = bdi(&"x".repeat(MAX_TEXT_CHARS + 1)).into_string();
        assert_eq!(long.len(), "<bdi></bdi>…".len() + MAX_TEXT_CHARS);
    }

    #[test]
    fn openid_shows_its_ends_only_if_it_is_long() {
        let long = "oABCDEFGHIJKLMNOPQRSTUVWXY12".parse().unwrap();
        assert_eq!(masked(&long).into_string(), "<code>oAB…12</code>");
        assert_eq!(without_openid(&format!("a{long} {long}"), Some(&long)), "aoAB…12 oAB…12");
        for short in ["o", "oABCDEFGHIJ"] {
            assert_eq!(masked(&short.parse().unwrap()).into_string(), "<code>•••</code>");
        }
    }

    #[test]
    fn durations_have_one_or_two_units() {
        for (seconds, english, chinese) in [
            (0, "0 s", "0 秒"),
            (59, "59 s", "59 秒"),
            (60, "1 min", "1 分钟"),
            (90, "1 min 30 s", "1 分钟 30 秒"),
            (600, "10 min", "10 分钟"),
            (3_660, "1 h 1 min", "1 小时 1 分钟"),
            (3_601, "1 h", "1 小时"),
            (90_000, "1 d 1 h", "1 天 1 小时"),
        ] {
            assert_eq!(duration(seconds, Language::English), english);
            assert_eq!(duration(seconds, Language::Chinese), chinese);
        }
    }
}
