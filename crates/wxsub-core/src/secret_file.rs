//! Files that hold one secret.

use std::fs::{File, metadata};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// The mark that some editors write at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file that holds one secret.
#[derive(Clone, derive_more::Debug)]
#[debug("SecretFile(***)")]
pub struct SecretFile {
    /// The content without byte order mark and without the newline at the end. Wiped on drop.
    pub text: Zeroizing<String>,
    /// Whether every user of this machine can read the file.
    pub is_readable_by_others: bool,
}

impl SecretFile {
    /// The maximum size of a file in bytes. Secrets are shorter.
    pub const MAX_BYTES: usize = 4096;

    /// Reads a regular file. A FIFO or a device is refused, because reading it can block.
    ///
    /// # Errors
    /// It is no regular file, cannot be read, is too large, or is not UTF-8. The error has nothing of the content.
    pub fn read(path: &Path) -> io::Result<Self> {
        // A FIFO would block the open already.
        if !metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Self::read_once(path)
    }

    /// Reads a regular file or a pipe, such as a shell makes of `<(pass show wxsub)`. A pipe can be read only once.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_once(path: &Path) -> io::Result<Self> {
        Self::from_open_file(File::open(path)?)
    }

    /// Reads an open file to its end.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not UTF-8.
    pub fn from_open_file(file: File) -> io::Result<Self> {
        let max = Self::MAX_BYTES;
        let is_readable_by_others = is_readable_by_others(&file);
        // Full capacity from the start: growing would leave copies of the secret in memory.
        let mut text = Zeroizing::new(String::with_capacity(max + 1));
        if file.take(max as u64 + 1).read_to_string(&mut text)? > max {
            return Err(io::Error::other(format!("it has more than {max} bytes")));
        }
        let end = without_newline(&text).len();
        text.truncate(end);
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        Ok(Self { text, is_readable_by_others })
    }
}

/// Removes one newline at the end.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// Whether it is a regular file that every user of this machine can read.
#[cfg(unix)]
pub fn is_readable_by_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

/// Whether it is a regular file that every user of this machine can read.
#[cfg(not(unix))]
pub fn is_readable_by_others(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_newline_is_stripped() {
        for (text, expected) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s\r", "s\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_newline(text), expected);
        }
    }

    #[test]
    fn large_file_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |length: usize| {
            std::fs::write(&path, "x".repeat(length)).unwrap();
            SecretFile::read(&path).map(|file| file.text.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read(4096), Ok(4096));
        assert_eq!(read(4097), Err("it has more than 4096 bytes".to_owned()));
    }

    /// Reading a FIFO would wait for a writer, and /dev/zero never ends.
    #[cfg(unix)]
    #[test]
    fn device_is_refused_or_read_up_to_the_limit() {
        let zero = Path::new("/dev/zero");
        let refused = |file: io::Result<SecretFile>| file.unwrap_err().to_string();
        assert_eq!(refused(SecretFile::read(zero)), "it is not a regular file");
        assert_eq!(refused(SecretFile::read_once(zero)), "it has more than 4096 bytes");
    }
}
