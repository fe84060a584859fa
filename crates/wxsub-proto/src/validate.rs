//! The one gate through which text becomes a checked type, and the rules several types share.

use crate::{ValidationError, ValidationErrorKind};

/// A checked piece of text: private field, one `check`, and every door (`new`, `FromStr`, `TryFrom`, serde) uses it.
macro_rules! validated_string {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it keeps the rules.
            ///
            /// # Errors
            /// [`ValidationError`](crate::ValidationError) names the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ValidationError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), $crate::ValidationError> = $check;
                check(&text).map(|()| Self(text))
            }

            /// The text, as it was given.
            #[must_use]
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

        impl TryFrom<String> for $name {
            type Error = $crate::ValidationError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use validated_string;

/// 1 to `max` characters (Unicode scalar values).
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

/// Only characters that `allows` lets through; `allowed` says which, in words.
pub(crate) fn check_charset(
    field: &'static str,
    text: &str,
    allowed: &'static str,
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

/// No control characters but those `except` lets through.
pub(crate) fn check_no_control_chars(
    field: &'static str,
    text: &str,
    except: fn(char) -> bool,
) -> Result<(), ValidationError> {
    let found = text.chars().enumerate().find(|&(_, c)| c.is_control() && !except(c));
    match found {
        Some((index, '\r')) => {
            Err(ValidationError::new(field, ValidationErrorKind::CarriageReturn { position: index + 1 }))
        }
        Some((index, _)) => {
            Err(ValidationError::new(field, ValidationErrorKind::ControlCharacter { position: index + 1 }))
        }
        None => Ok(()),
    }
}

/// An identifier that Weixin hands out: 1 to 128 of `[A-Za-z0-9_-]`. No exact length is documented, so none is guessed.
pub(crate) fn identifier(field: &'static str, text: &str) -> Result<(), ValidationError> {
    check_charset(field, text, "letters, digits, _ and -", |c| {
        c.is_ascii_alphanumeric() || c == '_' || c == '-'
    })?;
    check_length(field, text, 128)
}

/// Visible ASCII, as secrets are; the length in characters is bounded by `max`.
pub(crate) fn check_visible_ascii(
    field: &'static str,
    text: &str,
    max: usize,
) -> Result<(), ValidationError> {
    check_charset(field, text, "visible ASCII characters", |c| c.is_ascii_graphic())?;
    check_length(field, text, max)
}
