//! The two secrets: redacted in `Debug`, without `Display` and serde, wiped when dropped, exposed only by name.

/// A secret text: what [`AppSecret`] and [`AccessToken`] have in common.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, derive_more::Debug)]
        #[debug("{}(***)", stringify!($name))]
        pub struct $name(zeroize::Zeroizing<String>);

        impl $name {
            /// The largest number of characters: our limit, not Weixin's.
            pub const MAX_LENGTH: usize = $max;

            /// Makes the secret from visible ASCII within the length limit, without quotes around it. The given copy is
            /// wiped in any case.
            ///
            /// # Errors
            /// [`ValidationError`](crate::ValidationError) names the rule it breaks, never the text.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ValidationError> {
                let text = zeroize::Zeroizing::new(text.into());
                $crate::validation::check_visible_ascii($field, &text, Self::MAX_LENGTH)?;
                // Some shells and tools keep the quotes of a configuration file.
                match text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
                    true => {
                        Err($crate::ValidationError::invalid_format(
                            $field,
                            $crate::LocalizedText::new("given without quotes around it; remove them", "不带引号；请删除引号"),
                        ))
                    }
                    false => Ok(Self(text)),
                }
            }

            /// The secret itself. The caller keeps it out of logs, errors and URLs that are shown.
            pub fn expose_secret(&self) -> &str {
                &self.0
            }

            /// Whether both are equal, compared in constant time.
            pub fn ct_eq(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other.0.as_bytes()).into()
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

secret_text!(
    /// The credential of every API call: valid for at most two hours, invalidated early by the next fetch. Visible ASCII,
    /// at most 2048 characters (Weixin asks to reserve at least 512).
    ///
    /// Redacted in `Debug`, without `Display` and serde, wiped on drop.
    AccessToken,
    "access_token",
    2048
);

secret_text!(
    /// The AppSecret. Its holder can fetch tokens and so invalidate the ones in use. Visible ASCII, at most 512 characters.
    ///
    /// Redacted in `Debug`, without `Display` and serde, wiped on drop.
    AppSecret,
    "secret",
    512
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_errors_never_show_the_secret() {
        let secret = AppSecret::new("PLANTED-secret-0123").unwrap();
        assert_eq!(format!("{secret:?}"), "AppSecret(***)");
        assert_eq!(secret.expose_secret(), "PLANTED-secret-0123");
        let error = AccessToken::new("PLANTED token").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("PLANTED"), "{error}");
    }

    #[test]
    fn quotes_around_a_secret_are_rejected() {
        for quoted in ["\"0123\"", "'0123'", "\"0123", "0123'"] {
            let error = AppSecret::new(quoted).unwrap_err().to_string();
            assert_eq!(error, "secret: must be given without quotes around it; remove them");
        }
        assert!(AppSecret::new("it's").is_ok());
    }

    #[test]
    fn tokens_may_be_longer_than_512_characters_but_not_unbounded() {
        assert!(AccessToken::new("t".repeat(513)).is_ok());
        for bad in [String::new(), "t".repeat(4096), "t\n".into(), "t t".into(), "トークン".into()] {
            assert!(AccessToken::new(bad).is_err());
        }
    }

    #[test]
    fn secrets_are_equal_only_as_a_whole() {
        let token = |text: &str| AccessToken::new(text).unwrap();
        assert!(token("abc").ct_eq(&token("abc")));
        assert!(!token("abc").ct_eq(&token("abd")));
        assert!(!token("abc").ct_eq(&token("abcd")));
    }
}
