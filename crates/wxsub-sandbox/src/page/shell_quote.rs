//! Quotes text for a POSIX shell.

use std::borrow::Cow;

/// The text as one shell word, quoted if necessary.
pub(super) fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoted_text_is_one_shell_word() {
        for (text, expected) in [
            ("http://a:1/b_c-d.e", "http://a:1/b_c-d.e"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's $x", r"'it'\''s $x'"),
            ("#07C160", "'#07C160'"),
            ("/back?a=1&b", "'/back?a=1&b'"),
        ] {
            assert_eq!(quote(text), expected);
        }
    }
}
