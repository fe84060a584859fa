//! Detects files that are not JSON Lines, so that one error replaces an error for each line.

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};

/// Returns why the file is not JSON Lines and what to do.
///
/// Returns `None` if the first line is a JSON object, or if the cause is not certain. `ahead` returns the text after the first
/// line. It is called only if the first line is not enough.
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
        .then_some("its messages span several lines; write each on one line, for example with jq -c .")
}

const ARRAY: &str = "it is a JSON array; write one message per line, for example with jq -c '.[]'";

/// Whether the text begins like ASCII in UTF-16. JSON has no NUL byte.
fn is_half_nul(text: &[u8]) -> bool {
    matches!(text, [0, second, ..] if *second != 0) || matches!(text, [first, 0, ..] if *first != 0)
}

#[cfg(test)]
mod tests {
    use super::problem;

    fn problem_of(file: &[u8]) -> Option<&'static str> {
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (line, rest) = file.split_at(end);
        problem(line, || rest.get(1..).unwrap_or_default())
    }

    #[test]
    fn common_format_errors_are_named() {
        let utf16 = |mark: &str| format!("{mark}{{\"title\":\"x\"}}\n").encode_utf16().collect::<Vec<_>>();
        let little = |mark| utf16(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let big = |mark| utf16(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        for (file, expected) in [
            (little("\u{feff}"), "UTF-16"),
            (big("\u{feff}"), "UTF-16"),
            (little(""), "UTF-16"),
            (big(""), "UTF-16"),
            (b"{\"title\":\"\xc4\xe3\xba\xc3\"}\n{}".to_vec(), "GBK"),
            (b"[{\"a\":1},{\"a\":2}]".to_vec(), "array"),
            (b"[\n  {\n    \"a\": 1\n  }\n]\n".to_vec(), "array"),
            (b"[\r\n{\"a\":1},\r\n{\"a\":2}\r\n]".to_vec(), "array"),
            (b"{\"a\":1},\n{\"a\":2},\n".to_vec(), "comma"),
            (b"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"a\": 2\n}\n".to_vec(), "span several lines"),
            (b"{\n  \"a\": 1\n},\n{\n  \"a\": 2\n}\n".to_vec(), "span several lines"),
        ] {
            let found = problem_of(&file);
            assert!(found.is_some_and(|found| found.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn one_invalid_line_is_no_problem_of_the_file() {
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
            assert_eq!(problem_of(file), None, "{}", String::from_utf8_lossy(file));
        }
    }
}
