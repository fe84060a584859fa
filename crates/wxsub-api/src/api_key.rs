//! The key of a client.

use std::fmt;
use std::str::FromStr;

use wxsub_proto::{LocalizedText, ValidationError};
use zeroize::Zeroizing;

/// The key that authenticates a client to a control server: 43 characters of `[A-Za-z0-9]`. `Debug` redacts it, and
/// drop wipes it.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// The length of a key, in characters.
    pub const LENGTH: usize = 43;

    /// Creates a key from its text.
    ///
    /// # Errors
    /// [`ValidationError`] if the text is not 43 characters of `[A-Za-z0-9]`.
    pub fn new(text: impl Into<String>) -> Result<Self, ValidationError> {
        let text = Zeroizing::new(text.into());
        match text.len() == Self::LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            true => Ok(Self(text)),
            false => Err(ValidationError::invalid_format(
                "key",
                LocalizedText::new(
                    "43 letters and digits, as the server made it",
                    "是服务器生成的 43 位字母和数字",
                ),
            )),
        }
    }

    /// Returns the key itself, for the request only.
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// Returns the value of the header `Authorization`: `Bearer KEY`.
    pub fn to_bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{BEARER} {}", self.expose_secret()))
    }

    /// Parses a value of the header `Authorization`. The scheme is case-insensitive, as RFC 9110 says.
    pub fn from_bearer(value: &str) -> Option<Self> {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| Self::new(key.trim()).ok()).flatten()
    }
}

/// The authentication scheme, also in the header `WWW-Authenticate`.
const BEARER: &str = "Bearer";

impl FromStr for ApiKey {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::new(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "PLANTEDabcdefghijklmnopqrstuvwxyz0123456789";

    #[test]
    fn bearer_needs_scheme_and_key() {
        let key = "a".repeat(ApiKey::LENGTH);
        for (value, found) in [
            (format!("Bearer {key}"), true),
            (format!("bearer {key}"), true),
            (format!("Basic {key}"), false),
            (format!("Bearer{key}"), false),
            (key.clone(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer short".to_owned(), false),
        ] {
            assert_eq!(ApiKey::from_bearer(&value).is_some(), found, "{value}");
        }
        let key = ApiKey::new(key).unwrap();
        assert_eq!(ApiKey::from_bearer(&key.to_bearer()).unwrap().expose_secret(), key.expose_secret());
    }

    #[test]
    fn api_key_has_43_characters_and_is_redacted() {
        let key = ApiKey::new(KEY).unwrap();
        assert_eq!((key.expose_secret(), format!("{key:?}").as_str()), (KEY, "ApiKey(***)"));
        for bad in ["", "short", &KEY.replace('a', "-"), &format!("{KEY}x")] {
            let error = ApiKey::new(bad).unwrap_err().to_string();
            assert!(error.starts_with("key: ") && (bad.is_empty() || !error.contains(bad)), "{error}");
        }
    }
}
