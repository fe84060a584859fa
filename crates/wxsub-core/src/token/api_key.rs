use std::fmt;
use std::str::FromStr;

use wxsub_proto::{ValidationError, ValidationErrorKind};
use zeroize::Zeroizing;

/// What a client shows to a control server to be let in: 43 of `[A-Za-z0-9]`. Redacted in `Debug`, wiped on drop.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// How many characters a key has.
    pub const LENGTH: usize = 43;

    /// Takes the key.
    ///
    /// # Errors
    /// [`ValidationError`] if it is not 43 of `[A-Za-z0-9]`.
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

    /// The key itself: for the wire only.
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
        f.write_str("ClientKey(***)")
    }
}
