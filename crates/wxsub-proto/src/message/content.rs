use crate::validate::{check_length, check_no_control_chars, validated_string};

validated_string!(
    /// The content of a message: 1 to [`MAX`](Self::MAX) characters (Unicode scalar values). `\n` is a line break. Other
    /// control characters are refused; `\r` has an error of its own.
    Content,
    |text| {
        check_length("content", text, Content::MAX)?;
        check_no_control_chars("content", text, |c| c == '\n')
    }
);

impl Content {
    /// The maximum length in characters, line breaks included.
    pub const MAX: usize = 200;
}

#[cfg(test)]
mod tests {
    use super::Content;
    use crate::ValidationErrorKind;

    #[test]
    fn counts_characters_and_allows_line_breaks() {
        for good in ["a", "a\nb\n", "汉".repeat(200).as_str(), "😀".repeat(200).as_str()] {
            assert!(Content::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\tb", "\u{1b}[31m", "汉".repeat(201).as_str()] {
            assert!(Content::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_carriage_return_is_named() {
        let error = Content::new("a\r\nb").unwrap_err();
        assert_eq!(error.rule(), &ValidationErrorKind::CarriageReturn { position: 2 });
        assert_eq!(
            error.to_string(),
            "content: has a carriage return (\\r) at position 2; end lines with \\n alone"
        );
    }
}
