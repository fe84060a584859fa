//! Where audit lines go: standard error, or a file.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::config::{Links, owner_only, with_tried_path, without_blocking};

/// An open target. It knows whether its last line is complete.
pub(super) struct Target {
    out: Box<dyn Output>,
    /// The path to open anew. `None` for standard error.
    pub(super) path: Option<PathBuf>,
    /// Whether lines must be on the disk before they count as written.
    is_durable: bool,
    /// Whether the last line is incomplete.
    is_torn: bool,
}

/// What lines are written to.
pub(super) trait Output: Write + Send {
    /// Returns when everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Output for io::Stderr {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target {
    pub(super) fn stderr() -> Self {
        Self { out: Box::new(io::stderr()), path: None, is_durable: false, is_torn: false }
    }

    /// Opens a file, and creates it if it is missing.
    pub(super) fn file(path: &Path, is_durable: bool) -> io::Result<Self> {
        Self::open(path, is_durable).map_err(|error| with_tried_path(path, error))
    }

    fn open(path: &Path, is_durable: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file =
            without_blocking(owner_only(options.create(true).append(true)), Links::Follow).open(path)?;
        let metadata = file.metadata()?;
        if is_durable && !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file, and audit_required needs one"));
        }
        if is_durable && cfg!(unix) {
            // The name of a new file must be on the disk too.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let is_torn = metadata.is_file() && metadata.len() > 0 && last_byte(path).ok() != Some(b'\n');
        Ok(Self { out: Box::new(file), path: Some(path.to_owned()), is_durable, is_torn })
    }

    /// The path, or `stderr`.
    pub(super) fn name(&self) -> Cow<'_, str> {
        self.path.as_ref().map_or("stderr".into(), |path| path.to_string_lossy())
    }

    /// Opens the file anew. On an error the open one stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            *self = Self::file(path, self.is_durable)?;
        }
        Ok(())
    }

    /// Writes whole lines, and syncs them if they must be durable.
    ///
    /// Returns how many bytes of `lines` were written, and the error if that is not all.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.is_torn
            && let (_, Err(error)) = self.write_bytes(b"\n")
        {
            return (0, Err(error));
        }
        let (written, result) = self.write_bytes(lines);
        match result.and_then(|()| if self.is_durable { self.out.sync() } else { self.out.flush() }) {
            Ok(()) => (written, Ok(())),
            Err(error) if self.is_durable => (0, Err(error)),
            Err(error) => (written, Err(error)),
        }
    }

    fn write_bytes(&mut self, mut rest: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(length) => {
                    let (done, left) = rest.split_at(length.min(rest.len()));
                    self.is_torn = done.last() != Some(&b'\n');
                    written += done.len();
                    rest = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    #[cfg(test)]
    pub(super) fn fake(out: Box<dyn Output>, is_durable: bool) -> Self {
        Self { out, path: None, is_durable, is_torn: false }
    }
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = without_blocking(OpenOptions::new().read(true), Links::Follow).open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}
