//! The one gate through which text becomes a checked type, and the rules several types share.

use crate::{Invalid, Rule};

/// A checked piece of text: private field, one `check`, and every door (`new`, `FromStr`, `TryFrom`, serde) uses it.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it keeps the rules.
            ///
            /// # Errors
            /// [`Invalid`](crate::Invalid) names the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::Invalid> {
                let text = text.into();
                let check: fn(&str) -> Result<(), $crate::Invalid> = $check;
                check(&text).map(|()| Self(text))
            }

            /// The text, as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::Invalid;

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
pub(crate) use checked_text;

/// 1 to `max` characters (Unicode scalar values).
pub(crate) fn length(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, Rule::Empty));
    }
    // A text of at most `max` bytes cannot have more characters; only longer ones are counted.
    if text.len() <= max {
        return Ok(());
    }
    match text.chars().count() {
        actual if actual > max => Err(Invalid::new(field, Rule::TooLong { max, actual })),
        _ => Ok(()),
    }
}

/// Only characters that `allows` lets through; `allowed` says which, in words.
pub(crate) fn charset(
    field: &'static str,
    text: &str,
    allowed: &'static str,
    allows: fn(char) -> bool,
) -> Result<(), Invalid> {
    match text.chars().position(|c| !allows(c)) {
        Some(index) => Err(Invalid::new(field, Rule::Charset { allowed, position: index + 1 })),
        None => Ok(()),
    }
}

/// No control characters but those `except` lets through.
pub(crate) fn no_control(field: &'static str, text: &str, except: fn(char) -> bool) -> Result<(), Invalid> {
    let found = text.chars().enumerate().find(|&(_, c)| c.is_control() && !except(c));
    match found {
        Some((index, '\r')) => Err(Invalid::new(field, Rule::CarriageReturn { position: index + 1 })),
        Some((index, _)) => Err(Invalid::new(field, Rule::ControlCharacter { position: index + 1 })),
        None => Ok(()),
    }
}

/// An identifier that Weixin hands out: 1 to 128 of `[A-Za-z0-9_-]`. No exact length is documented, so none is guessed.
pub(crate) fn identifier(field: &'static str, text: &str) -> Result<(), Invalid> {
    charset(field, text, "letters, digits, _ and -", |c| c.is_ascii_alphanumeric() || c == '_' || c == '-')?;
    length(field, text, 128)
}

/// Visible ASCII, as secrets are; the length in characters is bounded by `max`.
pub(crate) fn visible_ascii(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    charset(field, text, "visible ASCII characters", |c| c.is_ascii_graphic())?;
    length(field, text, max)
}
