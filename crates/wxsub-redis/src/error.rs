//! Errors of a store's configuration, and the text of failed commands.

use redis::RedisError;
use wxsub_core::store::StoreError;

/// A setting of the store is invalid. The text never contains a password or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisConfigError {
    /// The address of Redis.
    #[error(
        "the address of Redis is invalid; write redis://host:6379/0, or rediss:// for TLS; separate several sentinel \
         hosts by commas"
    )]
    Address,
    /// The prefix of the keys.
    #[error("the prefix must be 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    Prefix,
    /// The encryption key.
    #[error("the encryption key must be 64 hexadecimal digits; `openssl rand -hex 32` generates one")]
    EncryptionKey,
    /// The certificate authorities.
    #[error("cannot use the certificate authorities: {0}")]
    CertificateAuthorities(String),
}

/// Converts an error of the Redis library without its own text.
///
/// That text may contain the address with its password. The operating system's text does not, so it is kept.
pub(crate) fn to_store_error(error: &RedisError) -> StoreError {
    let mut text = format!("Redis: {}", error.category());
    if let Some(code) = error.code() {
        text = format!("{text} ({code})");
    }
    let system = std::error::Error::source(error).filter(|_| error.is_io_error());
    if let Some(source) = system {
        text = format!("{text}: {source}");
    }
    StoreError::new(text)
}
