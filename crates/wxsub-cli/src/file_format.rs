//! What is wrong with a whole file of messages: said once, instead of once a line.

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};

/// Why this file is not JSON Lines, and what to do; `None` if its first line is a JSON object or nothing certain can be
/// said. `ahead` gives the beginning of what follows, and is asked only if the first line does not say enough.
pub(crate) fn problem<'a>(first_line: &[u8], ahead: impl FnOnce() -> &'a [u8]) -> Option<&'static str> {
    if first_line.starts_with(b"\xff\xfe") || first_line.starts_with(b"\xfe\xff") || is_half_nul(first_line) {
        return Some("it is UTF-16 text; save it as UTF-8");
    }
    let Ok(line) = std::str::from_utf8(first_line) else {
        return Some("it is not UTF-8 text, most likely GBK; save it as UTF-8");
    };
    let line = line.trim();
    if serde_json::from_str::<Map<String, Value>>(line).is_ok() {
        return None;
    }
    if line.strip_suffix(',').is_some_and(|line| serde_json::from_str::<Map<String, Value>>(line).is_ok()) {
        return Some("its lines end with a comma; remove the commas");
    }
    if line.strip_prefix('[').is_some_and(|items| items.trim_start().starts_with('{')) {
        return Some(ARRAY);
    }
    if !serde_json::from_str::<IgnoredAny>(line).is_err_and(|error| error.is_eof()) {
        return None;
    }
    let ahead = ahead();
    if line == "[" {
        return ahead.trim_ascii_start().starts_with(b"{").then_some(ARRAY);
    }
    let text = [first_line, ahead].join(&b'\n');
    let first = Deserializer::from_slice(&text).into_iter::<Map<String, Value>>().next();
    matches!(first, Some(Ok(_)))
        .then_some("its messages stand on several lines; write each on one line, for example with jq -c .")
}

const ARRAY: &str = "it is a JSON array; write one message a line, for example with jq -c '.[]'";

/// Whether it begins as ASCII in UTF-16 does. JSON has no NUL.
fn is_half_nul(text: &[u8]) -> bool {
    matches!(text, [0, second, ..] if *second != 0) || matches!(text, [first, 0, ..] if *first != 0)
}

#[cfg(test)]
mod tests {
    use super::problem;

    fn of(file: &[u8]) -> Option<&'static str> {
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (line, rest) = file.split_at(end);
        problem(line, || rest.get(1..).unwrap_or_default())
    }

    #[test]
    fn the_usual_mistakes_are_named() {
        let utf16 = |mark: &str| format!("{mark}{{\"title\":\"x\"}}\n").encode_utf16().collect::<Vec<_>>();
        let little = |mark| utf16(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let big = |mark| utf16(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        for (file, said) in [
            (little("\u{feff}"), "UTF-16"),
            (big("\u{feff}"), "UTF-16"),
            (little(""), "UTF-16"),
            (big(""), "UTF-16"),
            (b"{\"title\":\"\xc4\xe3\xba\xc3\"}\n{}".to_vec(), "GBK"),
            (b"[{\"a\":1},{\"a\":2}]".to_vec(), "array"),
            (b"[\n  {\n    \"a\": 1\n  }\n]\n".to_vec(), "array"),
            (b"[\r\n{\"a\":1},\r\n{\"a\":2}\r\n]".to_vec(), "array"),
            (b"{\"a\":1},\n{\"a\":2},\n".to_vec(), "comma"),
            (b"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"a\": 2\n}\n".to_vec(), "several lines"),
            (b"{\n  \"a\": 1\n},\n{\n  \"a\": 2\n}\n".to_vec(), "several lines"),
        ] {
            let found = of(&file);
            assert!(found.is_some_and(|found| found.contains(said)), "{said}: {found:?}");
        }
    }

    #[test]
    fn a_single_bad_line_does_not_condemn_a_file() {
        for file in [
            &b"{\"a\":1}\n[{\"b\":1}]\n"[..],
            b"{\"a\":1}\n{\"b\":\"\xff\"}\n",
            b"nonsense\n{}",
            b"{\"a\":\n{\"a\":1}\n",
            b"{\"a\":1\n{\"a\":1}\n",
            b"[]\n{}",
            b"[1]\n",
            b"7\n",
            b"{\"a\":1,}\n{\"a\":1}\n",
            b"",
        ] {
            assert_eq!(of(file), None, "{}", String::from_utf8_lossy(file));
        }
    }
}
