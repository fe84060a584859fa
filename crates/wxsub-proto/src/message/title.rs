use crate::validate::{check_length, check_no_control_chars, validated_string};

validated_string!(
    /// The title of a message: 1 to [`MAX`](Self::MAX) characters (Unicode scalar values), no control characters.
    Title,
    |text| {
        check_length("title", text, Title::MAX)?;
        check_no_control_chars("title", text, |_| false)
    }
);

impl Title {
    /// The maximum length in characters.
    pub const MAX: usize = 15;
}

#[cfg(test)]
mod tests {
    use super::Title;

    #[test]
    fn counts_characters_not_bytes() {
        for good in ["a", "汉".repeat(15).as_str(), "😀".repeat(15).as_str(), "a b", " "] {
            assert!(Title::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a\nb", "a\tb", "\u{7f}", "\u{85}", "汉".repeat(16).as_str(), "e\u{301}".repeat(8).as_str()]
        {
            assert!(Title::new(bad).is_err(), "{bad:?}");
        }
    }
}
