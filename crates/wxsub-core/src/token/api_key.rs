use std::fmt;
use std::str::FromStr;

use wxsub_proto::{ValidationError, ValidationErrorKind};
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
            false => Err(ValidationError::new(
                "key",
                ValidationErrorKind::InvalidFormat {
                    expected: "43 letters and digits, as the server made it",
                },
            )),
        }
    }

    /// Returns the key itself, for the request only.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

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
