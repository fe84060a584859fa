//! Text from outside on one line.

/// Makes text from outside safe for a log, an error or a terminal: each control character, line separator and mark that
/// changes the direction of text becomes a space.
///
/// ```
/// use wxsub_proto::redact::sanitize_line;
///
/// assert_eq!(sanitize_line("a\r\nb\u{1b}[31mc\u{2028}d\u{202e}e".chars()), "a  b [31mc d e");
/// // At most 3 characters.
/// assert_eq!(sanitize_line("a\nbcd".chars().take(3)), "a b");
/// ```
pub fn sanitize_line(text: impl IntoIterator<Item = char>) -> String {
    text.into_iter().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::sanitize_line;

    #[test]
    fn only_unsafe_characters_become_spaces() {
        for unsafe_one in "\0\n\u{7f}\u{85}\u{61c}\u{200e}\u{200f}\u{2028}\u{202e}\u{2066}\u{2069}".chars() {
            assert_eq!(sanitize_line([unsafe_one]), " ", "{unsafe_one:?}");
        }
        let safe = "a汉😀\u{61b}\u{200d}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}";
        assert_eq!(sanitize_line(safe.chars()), safe);
    }
}
