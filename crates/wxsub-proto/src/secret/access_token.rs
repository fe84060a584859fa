use super::secret_text;

secret_text!(
    /// The credential of every API call: valid for at most two hours, invalidated early by the next fetch. Visible ASCII,
    /// at most 2048 characters (Weixin asks to reserve at least 512).
    ///
    /// Redacted in `Debug`, without `Display` and serde, wiped on drop.
    AccessToken,
    "access_token",
    2048
);
