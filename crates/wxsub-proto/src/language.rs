//! Texts for people, in several languages.

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
/// use wxsub_proto::{ErrCode, Language, Operation};
///
/// let meaning = ErrCode::ACCESS_TOKEN_EXPIRED.meaning(Operation::Send);
/// assert_eq!(meaning.to_string(), "the access token has expired");
/// assert_eq!(meaning.in_language(Language::Chinese), "access_token 已过期");
/// ```
#[derive(Debug, derive_more::Display, Clone, Copy, PartialEq, Eq, Hash)]
#[display("{english}")]
pub struct LocalizedText<T = &'static str> {
    english: T,
    chinese: T,
}

impl<T> LocalizedText<T> {
    /// Creates a text from its versions.
    pub const fn new(english: T, chinese: T) -> Self {
        Self { english, chinese }
    }

    /// The line in this language.
    pub fn in_language(&self, language: Language) -> T
    where
        T: Clone,
    {
        match language {
            Language::English => self.english.clone(),
            Language::Chinese => self.chinese.clone(),
        }
    }
}

impl From<LocalizedText> for LocalizedText<String> {
    fn from(text: LocalizedText) -> Self {
        Self::new(text.english.to_owned(), text.chinese.to_owned())
    }
}

/// Formats a [`LocalizedText`]: `localized_text!("{n} apps", "{n} 个应用")`. A value that is itself a [`LocalizedText`] is in
/// the language of its sentence if it is named after a semicolon: `localized_text!("must be {rule}", "必须{rule}"; rule)`.
#[macro_export]
macro_rules! localized_text {
    ($english:literal, $chinese:literal $(; $($text:ident),+)?) => {
        $crate::LocalizedText::new(
            {
                $($(let $text = $text.in_language($crate::Language::English);)+)?
                format!($english)
            },
            {
                $($(let $text = $text.in_language($crate::Language::Chinese);)+)?
                format!($chinese)
            },
        )
    };
}

#[cfg(test)]
impl<T: AsRef<str>> LocalizedText<T> {
    /// Panics unless both languages are present, each in its own script.
    pub(crate) fn assert_complete(&self, whose: &str) {
        let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        let (english, chinese) = (self.english.as_ref(), self.chinese.as_ref());
        for text in [english, chinese] {
            assert!(
                text.len() > 5 && !text.ends_with(['.', '。']) && !text.contains('\n'),
                "{whose}: {text}"
            );
        }
        assert!(english.is_ascii(), "{whose}: {english} is not English");
        assert!(han(chinese), "{whose}: {chinese} is not Chinese");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_in_the_requested_language() {
        let text = LocalizedText::new("busy", "忙");
        assert_eq!(text.in_language(Language::English), "busy");
        assert_eq!(text.in_language(Language::Chinese), "忙");
        assert_eq!(text.to_string(), "busy");
        let sentence = localized_text!("Weixin is {text}", "微信很{text}"; text);
        assert_eq!(sentence.in_language(Language::Chinese), "微信很忙");
        assert_eq!(sentence.to_string(), "Weixin is busy");
    }
}
