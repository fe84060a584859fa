//! Errors of a store's configuration, and the text of failed commands.

use redis::{ErrorKind, RedisError};
use wxsub_core::proto::LocalizedText;
use wxsub_core::store::{StoreError, StoreErrorKind};

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
    /// The address is that of another machine, and begins with `redis://`.
    #[error(
        "the connection to Redis would not be encrypted, so others could read its password and tokens; write rediss://, or \
         set plaintext = true in a network that no other machine can reach"
    )]
    Plaintext,
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

impl RedisConfigError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Address => "Redis 地址无效；请写成 redis://host:6379/0，使用 TLS 时写 rediss://；\
                              多个 sentinel 主机用逗号分隔"
                .to_owned(),
            Self::Plaintext => "到 Redis 的连接不会加密，密码和 access_token 可能被窃听；请使用 rediss://；\
                                如果其他机器无法访问该网络，可设置 plaintext = true"
                .to_owned(),
            Self::Prefix => "前缀必须是 1 到 64 个字符，只能用 A-Z a-z 0-9 . _ -".to_owned(),
            Self::EncryptionKey => {
                "加密密钥必须是 64 位十六进制数字；可用 `openssl rand -hex 32` 生成".to_owned()
            }
            Self::CertificateAuthorities(error) => format!("CA 证书无法使用：{error}"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
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
    StoreError::new(kind_of(error, &text), text)
}

/// `text` contains the text of the operating system or of TLS, if there is one.
fn kind_of(error: &RedisError, text: &str) -> StoreErrorKind {
    if error.is_io_error() || error.is_timeout() {
        return match text {
            text if text.contains("failed to lookup address") => StoreErrorKind::UnknownHost,
            text if text.contains("certificate") || text.contains("TLS") => StoreErrorKind::Certificate,
            _ => StoreErrorKind::Unreachable,
        };
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        return StoreErrorKind::WrongCredentials;
    }
    let refusal = [error.code(), error.detail()].into_iter().flatten().find_map(kind_of_refusal);
    refusal.unwrap_or(match error.kind() {
        ErrorKind::MasterNameNotFoundBySentinel => StoreErrorKind::Unreachable,
        _ if error.is_unrecoverable_error() => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Failed,
    })
}

/// What Redis refuses in this text, if it is known.
pub(crate) fn kind_of_refusal(text: &str) -> Option<StoreErrorKind> {
    // Redis 7 reports a missing right inside a script as `ERR`, in these words.
    let words = ["can't run this command", "can't access at least one", "can't publish to", "ACL failure"];
    if words.iter().any(|words| text.contains(words)) {
        return Some(StoreErrorKind::MissingRight);
    }
    // Redis 6.2 reports an error inside a script as `ERR`, with the code in the text, in part as `-CODE`.
    text.split([' ', ':', '-']).find_map(|word| match word {
        "NOAUTH" | "WRONGPASS" => Some(StoreErrorKind::WrongCredentials),
        "NOPERM" => Some(StoreErrorKind::MissingRight),
        "READONLY" => Some(StoreErrorKind::ReadOnly),
        "OOM" => Some(StoreErrorKind::OutOfMemory),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => Some(StoreErrorKind::Cluster),
        "LOADING" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" => Some(StoreErrorKind::Unreachable),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::make_extension_error;

    use super::*;

    #[test]
    fn response_of_redis_has_its_kind() {
        use StoreErrorKind::*;
        for (code, detail, kind) in [
            ("NOAUTH", "Authentication required.", WrongCredentials),
            ("NOPERM", "this user has no permissions to run the 'hgetall' command", MissingRight),
            ("MOVED", "3999 127.0.0.1:6381", Cluster),
            ("CLUSTERDOWN", "Hash slot not served", Cluster),
            ("READONLY", "You can't write against a read only replica.", ReadOnly),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", OutOfMemory),
            ("LOADING", "Redis is loading the dataset in memory", Unreachable),
            // Redis 6.2, in a script.
            (
                "ERR",
                "Error running script (call to f_1): @user_script:5: NOPERM no permissions",
                MissingRight,
            ),
            (
                "ERR",
                "Error running script (call to f_1): @user_script: 33: -READONLY You can't write",
                ReadOnly,
            ),
            (
                "ERR",
                "Error running script (call to f_1): @user_script: 33: -OOM command not allowed",
                OutOfMemory,
            ),
            ("ERR", "The user executing the script can't run this command or subcommand", MissingRight),
            ("ERR", "unknown command", Failed),
        ] {
            let error = to_store_error(&make_extension_error(code.to_owned(), Some(detail.to_owned())));
            assert_eq!(error.kind(), kind, "{code} {detail}");
        }
    }

    #[test]
    fn failed_connection_has_its_kind() {
        use StoreErrorKind::*;
        for (text, kind) in [
            ("failed to lookup address information: Name or service not known", UnknownHost),
            ("invalid peer certificate: UnknownIssuer", Certificate),
            ("connection refused", Unreachable),
        ] {
            assert_eq!(to_store_error(&RedisError::from(io::Error::other(text))).kind(), kind, "{text}");
        }
    }
}
