//! What can be wrong with a store's configuration, and what a failed command may say.

use redis::RedisError;
use wxsub_core::store::StoreError;

/// What a store was configured with cannot be used. Never holds a password or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisConfigError {
    /// The address.
    #[error(
        "the address of Redis cannot be read; it looks like redis://host:6379/0, or rediss:// for TLS; with sentinels, \
         their hosts separated by commas"
    )]
    Address,
    /// The prefix of the keys.
    #[error("the prefix must be 1 to 64 of A-Z a-z 0-9 . _ -")]
    Prefix,
    /// The encryption key.
    #[error("the encryption key must be 64 hexadecimal digits; `openssl rand -hex 32` makes one")]
    EncryptionKey,
    /// The certificate authorities.
    #[error("the certificate authorities cannot be used: {0}")]
    CertificateAuthorities(String),
}

/// Says what went wrong. The texts of the library may hold an address with its password; those of the system do not.
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
