use super::secret_text;

secret_text!(
    /// The AppSecret. Its holder can fetch tokens and so invalidate the ones in use. Visible ASCII, at most 512 characters.
    ///
    /// Redacted in `Debug`, without `Display` and serde, wiped on drop.
    AppSecret,
    "secret",
    512
);
