use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::warn;
use wxsub_proto::{LocalizedText, ValidationError};
use zeroize::Zeroizing;

use crate::secret_file::is_readable_by_others;

/// The key that signs the state in `reserved`: 32 to 4096 random bytes, the same on all servers that verify. Drop
/// wipes it.
#[derive(Clone, derive_more::Debug)]
#[debug("SigningKey(***)")]
pub struct SigningKey(Zeroizing<Vec<u8>>);

/// A file from which no signing key can be read. It has nothing of the content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be opened or read.
    #[error("{} cannot be read: {source}; check the path and its permissions", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too short or too long.
    #[error("{}: must have {} to {} bytes; make one with `wxsub consent key`", .path.display(), SigningKey::MIN, SigningKey::MAX)]
    InvalidLength {
        /// The file.
        path: PathBuf,
    },
}

impl KeyFileError {
    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Unreadable { path, source } => {
                format!("{} 无法读取：{source}；请检查路径和权限", path.display())
            }
            Self::InvalidLength { path } => format!(
                "{}：必须是 {} 到 {} 字节；请用 `wxsub consent key` 生成",
                path.display(),
                SigningKey::MIN,
                SigningKey::MAX
            ),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

impl SigningKey {
    /// The minimum length of a key in bytes: 256 bits.
    pub const MIN: usize = 32;

    /// The maximum length of a key in bytes.
    pub const MAX: usize = 4096;

    /// Creates a key from these bytes, as they are. [`from_file`](Self::from_file) reads a file.
    ///
    /// # Errors
    /// [`ValidationError`] if it is shorter than [`MIN`](Self::MIN) or longer than [`MAX`](Self::MAX).
    pub fn new(key: &[u8]) -> Result<Self, ValidationError> {
        let (min, max) = (Self::MIN, Self::MAX);
        if !(min..=max).contains(&key.len()) {
            return Err(ValidationError::invalid_format(
                "signing_key",
                LocalizedText::new("32 to 4096 random bytes", "是 32 到 4096 个随机字节"),
            ));
        }
        Ok(Self(Zeroizing::new(key.to_vec())))
    }

    /// Reads the key from a file, such as `wxsub consent key` writes. One newline at the end does not belong to the key.
    ///
    /// Blocks while it reads. Logs a warning if every user of the machine can read the file.
    ///
    /// # Errors
    /// [`KeyFileError`] if the file cannot be read, or if its key is shorter than [`MIN`](Self::MIN) or longer than
    /// [`MAX`](Self::MAX).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let file =
            File::open(path).map_err(|source| KeyFileError::Unreadable { path: path.into(), source })?;
        if is_readable_by_others(&file) {
            warn!(path = %path.display(), "signing key is readable by every user of this machine; run chmod 600 on its file");
        }
        Self::from_open_file(file, path)
    }

    /// Reads the key from an open file, as [`from_file`](Self::from_file). `path` is for the error.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_open_file(file: File, path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let bytes =
            read_key(file).map_err(|source| KeyFileError::Unreadable { path: path.into(), source })?;
        let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        Self::new(key).map_err(|_| KeyFileError::InvalidLength { path: path.into() })
    }

    /// Returns a short id that shows which key signed and reveals nothing of it.
    pub(super) fn id(&self) -> [u8; 2] {
        let [a, b, ..] = self.mac(&[b"key id"]);
        [a, b]
    }

    /// Returns the MAC over these parts. Each part is preceded by its length, so different lists never look the
    /// same.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Reads a key with its newline, or enough to see that it is too long.
fn read_key(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let max = SigningKey::MAX + 2;
    // Full capacity from the start: growing would leave copies of the key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max));
    file.take(max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
