use std::fmt;

/// The languages of a [`LocalizedText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

/// One line for people in every [`Language`], without a final full stop. `Display` is English.
///
/// ```
/// use wxsub_proto::{ErrCode, Operation};
/// use wxsub_proto::errcode::Language;
///
/// let meaning = ErrCode::ACCESS_TOKEN_EXPIRED.meaning(Operation::Send);
/// assert_eq!(meaning.to_string(), "the access token has expired");
/// assert_eq!(meaning.in_language(Language::Chinese), "access_token 已过期");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalizedText {
    english: &'static str,
    chinese: &'static str,
}

impl LocalizedText {
    pub(super) const fn new(english: &'static str, chinese: &'static str) -> Self {
        Self { english, chinese }
    }

    /// The line in this language.
    pub const fn in_language(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

impl fmt::Display for LocalizedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.english)
    }
}

#[cfg(test)]
impl LocalizedText {
    /// The problem of the line, if any: both languages must be present, each in its own script.
    pub(super) fn assert_complete(self, whose: &str) {
        let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for text in [self.english, self.chinese] {
            assert!(
                text.len() > 5 && !text.ends_with(['.', '。']) && !text.contains('\n'),
                "{whose}: {text}"
            );
        }
        assert!(self.english.is_ascii(), "{whose}: {} is not English", self.english);
        assert!(han(self.chinese), "{whose}: {} is not Chinese", self.chinese);
    }
}

#[cfg(test)]
mod tests {
    use super::{Language, LocalizedText};

    #[test]
    fn a_line_is_told_in_the_language_asked_for() {
        let text = LocalizedText::new("busy", "忙");
        assert_eq!(text.in_language(Language::English), "busy");
        assert_eq!(text.in_language(Language::Chinese), "忙");
        assert_eq!(text.to_string(), "busy");
    }
}
