//! Validation: its errors (field, rule and remedy, never the offending text), and the rules that several types share.

use std::convert::Infallible;

use crate::{Language, LocalizedText, localized_text};

/// A value breaks a rule. The error names field and rule. It never contains the value, which may be secret or personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, getset::CopyGetters, getset::Getters)]
#[error("{field}: {rule}")]
pub struct ValidationError {
    /// The field, in Weixin's spelling: `touser`, `data.content.value`.
    #[getset(get_copy = "pub")]
    field: &'static str,
    /// The rule it breaks.
    #[getset(get = "pub")]
    rule: ValidationErrorKind,
}

impl ValidationError {
    /// An error of `field` that breaks `rule`.
    pub fn new(field: &'static str, rule: ValidationErrorKind) -> Self {
        Self { field, rule }
    }

    /// A required field is absent.
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, ValidationErrorKind::Missing)
    }

    /// A value does not have the `expected` format, in words.
    pub fn invalid_format(field: &'static str, expected: LocalizedText) -> Self {
        Self::new(field, ValidationErrorKind::InvalidFormat { expected })
    }

    /// The error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let (field, rule) = (self.field, self.rule.localized());
        localized_text!("{field}: {rule}", "{field}：{rule}"; rule)
    }

    /// The same error under the field name of an enclosing value (a content is `data.content.value` in a message).
    #[must_use]
    pub fn with_field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

/// A value that is valid already, where text is accepted too.
impl From<Infallible> for ValidationError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The rule that a value breaks. `Display` says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationErrorKind {
    /// A required field is absent.
    #[error("is missing; it is required")]
    Missing,
    /// The value is empty.
    #[error("is empty; give it a value")]
    Empty,
    /// Too many characters (Unicode scalar values).
    #[error("has {actual} characters, at most {max} are allowed; shorten it")]
    TooLong {
        /// The limit.
        max: usize,
        /// The number of characters.
        actual: usize,
    },
    /// A character outside the allowed set.
    #[error("has a character that is not allowed at position {position}; use only {allowed}")]
    InvalidCharacter {
        /// The allowed characters, in words.
        allowed: LocalizedText,
        /// Its position, in characters from 1.
        position: usize,
    },
    /// A control character that is not allowed.
    #[error("has a control character at position {position}; remove it")]
    ControlCharacter {
        /// Its position, in characters from 1.
        position: usize,
    },
    /// A carriage return (`\r`), usually from Windows line ends.
    #[error("has a carriage return (\\r) at position {position}; end lines with \\n alone")]
    CarriageReturn {
        /// Its position, in characters from 1.
        position: usize,
    },
    /// A number outside its range.
    #[error(
        "must be a whole number from {min} to {max}, written in decimal digits without sign or leading zero"
    )]
    OutOfRange {
        /// The smallest allowed.
        min: u32,
        /// The largest allowed.
        max: u32,
    },
    /// The value does not have the expected format.
    #[error("must be {expected}")]
    InvalidFormat {
        /// The expected format, in words.
        expected: LocalizedText,
    },
    /// A duplicate name. Which of the values counts would be a guess.
    #[error("is given more than once; give it once")]
    Duplicate,
    /// A file has the same message on an earlier line: same `touser`, `template_id` and `scene`.
    #[error("duplicate of line {line}; one consent allows one message for a touser, template_id and scene")]
    DuplicateLine {
        /// The earlier line, from 1.
        line: u64,
    },
    /// An unknown member. A misspelt name would lose its value silently.
    #[error("has an unknown member {name:?}; {}", correction(.suggestion))]
    UnknownField {
        /// The member's name, shortened and sanitised.
        name: String,
        /// The most similar known name.
        suggestion: Option<&'static str>,
    },
    /// A redirect URL has a parameter of the callback. The callback would carry it twice.
    #[error("has a parameter {name}, which Weixin adds to the callback itself; rename yours")]
    CallbackParameter {
        /// The callback's parameter.
        name: &'static str,
    },
    /// Plain HTTP to another machine, which would expose the secrets in the query to the network.
    #[error(
        "uses http:// for an address that is not loopback, where secrets would travel in the open; use https://"
    )]
    InsecureScheme,
}

fn correction(suggestion: &Option<&'static str>) -> LocalizedText<String> {
    match suggestion {
        Some(name) => localized_text!("the right name is {name}", "正确的名称是 {name}"),
        None => localized_text!("remove it or correct its spelling", "请删除，或改正拼写"),
    }
}

impl ValidationErrorKind {
    /// The rule and what to do, in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Missing => "未填写；这一项必填".to_owned(),
            Self::Empty => "为空；请填写".to_owned(),
            Self::TooLong { max, actual } => format!("有 {actual} 个字符，最多 {max} 个；请缩短"),
            Self::InvalidCharacter { allowed, position } => {
                format!("第 {position} 个字符不允许使用；只能使用{}", allowed.in_language(Language::Chinese))
            }
            Self::ControlCharacter { position } => format!("第 {position} 个字符是控制字符；请删除"),
            Self::CarriageReturn { position } => {
                format!("第 {position} 个字符是回车符（\\r）；换行请只用 \\n")
            }
            Self::OutOfRange { min, max } => {
                format!("必须是 {min} 到 {max} 的整数，用十进制数字书写，不带正负号和前导零")
            }
            Self::InvalidFormat { expected } => format!("必须{}", expected.in_language(Language::Chinese)),
            Self::Duplicate => "重复出现；请只写一次".to_owned(),
            Self::DuplicateLine { line } => {
                format!("与第 {line} 行重复；同一 touser、template_id 和 scene 的一次授权只能发一条消息")
            }
            Self::UnknownField { name, suggestion } => {
                format!("有未知成员 {name:?}；{}", correction(suggestion).in_language(Language::Chinese))
            }
            Self::CallbackParameter { name } => {
                format!("带有参数 {name}，而微信会在回调中加上同名参数；请改名")
            }
            Self::InsecureScheme => "对非本机地址使用了 http://，密钥会明文传输；请改用 https://".to_owned(),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

impl From<&ValidationErrorKind> for LocalizedText<String> {
    fn from(rule: &ValidationErrorKind) -> Self {
        rule.localized()
    }
}

/// All validation errors of one value: at least one [`ValidationError`].
#[derive(Debug, derive_more::Display, Clone, PartialEq, Eq)]
#[display("{}", self.localized())]
pub struct ValidationErrors(Vec<ValidationError>);

impl ValidationErrors {
    /// The errors in the order of the fields; never empty.
    pub fn iter(&self) -> impl Iterator<Item = &ValidationError> {
        self.0.iter()
    }

    /// The errors in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let joined = |language, separator| {
            let texts = self.iter().map(|error| error.localized().in_language(language));
            texts.collect::<Vec<_>>().join(separator)
        };
        LocalizedText::new(joined(Language::English, "; "), joined(Language::Chinese, "；"))
    }
}

impl From<ValidationError> for ValidationErrors {
    fn from(error: ValidationError) -> Self {
        Self(vec![error])
    }
}

impl std::error::Error for ValidationErrors {}

/// Collects the errors of several values, in their order, to report them all at once.
#[derive(Debug, Default)]
pub struct ErrorCollector(Vec<ValidationError>);

impl ErrorCollector {
    /// Adds an error.
    pub fn push(&mut self, error: ValidationError) {
        self.0.push(error);
    }

    /// Returns the value, or adds its error.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<ValidationError>>) -> Option<T> {
        result.map_err(|error| self.0.push(error.into())).ok()
    }

    /// Returns the value, or adds its errors.
    pub fn keep_all<T>(&mut self, result: Result<T, ValidationErrors>) -> Option<T> {
        result.map_err(|errors| self.0.extend(errors.0)).ok()
    }

    /// Returns the value if there is no error. `None` is for after an error only.
    ///
    /// # Errors
    /// [`ValidationErrors`]: all that were added.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ValidationErrors> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ValidationErrors(self.0)),
        }
    }
}

/// Implements `TryFrom` for each type by calling one function.
macro_rules! impl_try_from {
    ($name:ident: $($from:ty),+ => $new:expr) => {
        $(impl TryFrom<$from> for $name {
            type Error = $crate::ValidationError;

            fn try_from(value: $from) -> Result<Self, Self::Error> {
                $new(value)
            }
        })+
    };
}
pub(crate) use impl_try_from;

/// Makes a text newtype with one check that every constructor uses (`new`, `FromStr`, `TryFrom`, serde).
macro_rules! validated_string {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $crate::validation::validated_text!($(#[$doc])* #[derive(derive_more::Into)] $name(String), $check);
    };
}
pub(crate) use validated_string;

/// A validated text in this type: `String`, or `Arc<str>` if it is copied often.
macro_rules! validated_text {
    ($(#[$doc:meta])* $name:ident($text:ty), $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, derive_more::Display, derive_more::AsRef, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[as_ref(str)]
        #[serde(try_from = "String")]
        pub struct $name($text);

        impl $name {
            /// Makes the value if the text keeps the rules.
            ///
            /// # Errors
            /// [`ValidationError`](crate::ValidationError) names the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ValidationError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), $crate::ValidationError> = $check;
                check(&text).map(|()| Self(text.into()))
            }

            /// The text, unchanged.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ValidationError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        $crate::validation::impl_try_from!($name: String, &str, &String => $name::new);
    };
}
pub(crate) use validated_text;

/// Requires 1 to `max` characters (Unicode scalar values).
pub(crate) fn check_length(field: &'static str, text: &str, max: usize) -> Result<(), ValidationError> {
    if text.is_empty() {
        return Err(ValidationError::new(field, ValidationErrorKind::Empty));
    }
    // A text of at most `max` bytes cannot have more characters; only longer ones are counted.
    if text.len() <= max {
        return Ok(());
    }
    match text.chars().count() {
        actual if actual > max => {
            Err(ValidationError::new(field, ValidationErrorKind::TooLong { max, actual }))
        }
        _ => Ok(()),
    }
}

/// Requires characters that `allows` accepts. `allowed` describes them for the error.
pub(crate) fn check_charset(
    field: &'static str,
    text: &str,
    allowed: LocalizedText,
    allows: fn(char) -> bool,
) -> Result<(), ValidationError> {
    match text.chars().position(|c| !allows(c)) {
        Some(index) => Err(ValidationError::new(
            field,
            ValidationErrorKind::InvalidCharacter { allowed, position: index + 1 },
        )),
        None => Ok(()),
    }
}

/// Rejects control characters, unless `except` accepts them.
pub(crate) fn check_no_control_chars(
    field: &'static str,
    text: &str,
    except: fn(char) -> bool,
) -> Result<(), ValidationError> {
    let found = text.chars().enumerate().find(|&(_, c)| c.is_control() && !except(c));
    let rule = match found.map(|(index, c)| (index + 1, c)) {
        Some((position, '\r')) => ValidationErrorKind::CarriageReturn { position },
        Some((position, _)) => ValidationErrorKind::ControlCharacter { position },
        None => return Ok(()),
    };
    Err(ValidationError::new(field, rule))
}

/// Requires an identifier that Weixin issues: 1 to 128 of `[A-Za-z0-9_-]`. Weixin documents no exact length.
pub(crate) fn identifier(field: &'static str, text: &str) -> Result<(), ValidationError> {
    check_charset(
        field,
        text,
        LocalizedText::new("letters, digits, _ and -", "字母、数字、_ 和 -"),
        |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    )?;
    check_length(field, text, 128)
}

/// Requires visible ASCII, 1 to `max` characters.
pub(crate) fn check_visible_ascii(
    field: &'static str,
    text: &str,
    max: usize,
) -> Result<(), ValidationError> {
    check_charset(field, text, LocalizedText::new("visible ASCII characters", "可见 ASCII 字符"), |c| {
        c.is_ascii_graphic()
    })?;
    check_length(field, text, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_every_field() {
        let mut errors = ErrorCollector::default();
        errors.push(ValidationError::new("title", ValidationErrorKind::Empty));
        errors.push(ValidationError::missing("scene"));
        let problems = errors.finish(Some(())).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "title: is empty; give it a value; scene: is missing; it is required"
        );
        assert_eq!(problems.iter().count(), 2);
        assert_eq!(ErrorCollector::default().finish(Some(7)), Ok(7));
    }
}
