//! Quoting for commands that users copy into a shell.

use std::ffi::OsStr;
use std::fmt::Write;

/// Quotes the text as one shell word.
///
/// Text with control characters or invalid UTF-8 becomes `$'…'`, which bash, zsh and ksh support.
pub(crate) fn quote(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref();
    match text.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(text.as_encoded_bytes()),
    }
}

/// A flag with its value, for a shell. A value that begins with a hyphen would look like a flag of its own.
pub(crate) fn flag(name: &str, value: impl AsRef<OsStr>) -> String {
    let value = quote(value);
    let separator = if value.len() > 1 && value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{separator}{value}")
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:,".contains(c)
}

fn escaped(bytes: &[u8]) -> String {
    let mut word = "$'".to_owned();
    for byte in bytes {
        match byte {
            b' '..=b'~' if !b"'\\".contains(byte) => word.push(char::from(*byte)),
            // Writing into a String cannot fail.
            _ => drop(write!(word, "\\{byte:03o}")),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_word() {
        for (text, expected) in [
            ("/tmp/a_b-c.jsonl", "/tmp/a_b-c.jsonl"),
            ("120,122-131,136-", "120,122-131,136-"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's $x", r"'it'\''s $x'"),
            ("~/x", "'~/x'"),
            ("消息.jsonl", "'消息.jsonl'"),
            ("a\n'b\\", r"$'a\012\047b\134'"),
        ] {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn value_does_not_look_like_a_flag() {
        for (value, expected) in [("a b", "--file 'a b'"), ("-", "--file -"), ("-spring", "--file=-spring")] {
            assert_eq!(flag("--file", value), expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_escaped() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(quote(OsStr::from_bytes(b"a \xff")), r"$'a \377'");
    }
}
