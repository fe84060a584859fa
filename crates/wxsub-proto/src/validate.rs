//! Validation of text types, and the rules that several types share.

use crate::{ValidationError, ValidationErrorKind};

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
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes the value if the text keeps the rules.
            ///
            /// # Errors
            /// [`ValidationError`](crate::ValidationError) names the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ValidationError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), $crate::ValidationError> = $check;
                check(&text).map(|()| Self(text))
            }

            /// The text, unchanged.
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

        $crate::validate::impl_try_from!($name: String, &str, &String => $name::new);

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

/// Rejects control characters, unless `except` accepts them.
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

/// Requires an identifier that Weixin issues: 1 to 128 of `[A-Za-z0-9_-]`. Weixin documents no exact length.
pub(crate) fn identifier(field: &'static str, text: &str) -> Result<(), ValidationError> {
    check_charset(field, text, "letters, digits, _ and -", |c| {
        c.is_ascii_alphanumeric() || c == '_' || c == '-'
    })?;
    check_length(field, text, 128)
}

/// Requires visible ASCII, 1 to `max` characters.
pub(crate) fn check_visible_ascii(
    field: &'static str,
    text: &str,
    max: usize,
) -> Result<(), ValidationError> {
    check_charset(field, text, "visible ASCII characters", |c| c.is_ascii_graphic())?;
    check_length(field, text, max)
}
