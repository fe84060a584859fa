//! The folder of state files: who may use it, and how files in it are read and written.
//!
//! A file has a line for each change, and the last whole one counts. To add a line costs a third of what it costs to replace the file:
//! one wait for the disk instead of two.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use wxsub_proto::LocalizedText;
use zeroize::Zeroizing;

use super::record_writer::NewLine;
use crate::config::{Links, open_regular, owner_only, with_tried_path, without_blocking};

/// Maximum number of bytes of a file. A line that no longer fits replaces the file.
const MAX_FILE_BYTES: u64 = 16_384;

/// A folder that this process alone uses. Symbolic links in it are not followed.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    /// Locked as long as the folder is in use.
    _lock: File,
    /// The owner and the mode of the files that this process creates.
    rights: Rights,
}

/// The folder of state files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another server uses the folder. Two servers would invalidate each other's tokens.
    #[error("another server uses it; stop that server, or give each its own folder")]
    InUse,
    /// The path is a symbolic link.
    #[error("is a symbolic link, and links are not followed; name the folder that it leads to")]
    Link,
    /// The folder or a file in it cannot be read or written.
    #[error("cannot use the folder: {0}")]
    Io(#[from] io::Error),
}

impl StateError {
    /// The error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::InUse => "正被另一个服务器使用；请停止那个服务器，或为每个服务器使用不同的目录".to_owned(),
            Self::Link => "是符号链接，服务器不跟随链接；请填写链接指向的目录".to_owned(),
            Self::Io(error) => format!("目录无法使用：{error}"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

impl StateFolder {
    /// Creates the folder if it is missing, locks it, and tries to write to it. An existing folder keeps its mode.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        Self::lock(path).map_err(|error| match error {
            StateError::Io(error) => StateError::Io(with_tried_path(path, error)),
            error => error,
        })
    }

    fn lock(path: &Path) -> Result<Self, StateError> {
        // Without a slash at the end, which would follow a link.
        let path: PathBuf = path.components().collect();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => return Err(StateError::Link),
            Ok(metadata) => warn_if_others_can_write(&path, &metadata),
            Err(_) => create(&path)?,
        }
        let lock = lock(&path)?;
        let probe = path.join("write-test");
        let rights = rights(&create_new(&probe)?.metadata()?);
        fs::remove_file(probe)?;
        Ok(Self { path, _lock: lock, rights })
    }

    /// Removes the file that is locked, if the folder itself cannot be locked.
    pub(super) fn remove_lock_file(&self) {
        // There is none if the folder is locked.
        let _ = fs::remove_file(self.path.join(LOCK_FILE));
    }

    /// The paths of all files.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// Reads a file. The content may be secret.
    pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE_BYTES).unwrap_or(0)));
        let file = open_regular(path, Links::Refuse)?;
        match file.metadata()?.len() <= MAX_FILE_BYTES {
            true => file.take(MAX_FILE_BYTES).read_to_end(&mut content)?,
            false => return Err(io::Error::other("it is longer than a state file can be")),
        };
        Ok(content)
    }

    /// Adds a line to a file, or replaces the file by one with this line. On success the line is on the disk.
    pub(super) fn write(&self, new: &NewLine) -> io::Result<()> {
        let path = self.path.join(&new.name);
        match self.open_to_append(&path, new.line.len()) {
            Some(mut file) => {
                file.write_all(&new.line)?;
                file.sync_data()
            }
            None => self.replace(&path, &new.line),
        }
    }

    /// Opens a file, if it is one that this process could have created, with room for this line.
    fn open_to_append(&self, path: &Path, line: usize) -> Option<File> {
        let file = without_blocking(OpenOptions::new().append(true), Links::Refuse).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let has_room = metadata.len() + (line as u64) <= MAX_FILE_BYTES;
        (metadata.is_file() && has_room && rights(&metadata) == self.rights).then_some(file)
    }

    /// Writes a new file, syncs it, and renames it over the old one.
    fn replace(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        let new_path = path.with_extension("new");
        let mut file = create_new(&new_path)?;
        file.write_all(line)?;
        file.sync_all()?;
        fs::rename(&new_path, path)?;
        // A rename is durable only after the folder is synced.
        match cfg!(unix) {
            true => File::open(&self.path)?.sync_all(),
            false => Ok(()),
        }
    }
}

/// The owner and the mode of a file, where there are such.
type Rights = (u32, u32);

#[cfg(unix)]
fn rights(metadata: &Metadata) -> Rights {
    use std::os::unix::fs::MetadataExt;
    (metadata.uid(), metadata.mode())
}

#[cfg(not(unix))]
fn rights(_: &Metadata) -> Rights {
    (0, 0)
}

/// Creates a file, in place of one that a crash left.
fn create_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    owner_only(OpenOptions::new().write(true).create_new(true)).open(path)
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A group that can write is usual for a volume of Kubernetes.
#[cfg(unix)]
fn warn_if_others_can_write(path: &Path, metadata: &Metadata) {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = %format_args!("{mode:04o}"),
            "other users can write to state_dir and replace access tokens; unless that is intended, run chmod go-w on it"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_write(_: &Path, _: &Metadata) {}

/// The file that is locked where a folder cannot be locked, as on NFS and Windows.
const LOCK_FILE: &str = "lock";

/// Locks the folder itself, because a file in it could be deleted and locked again; or else [`LOCK_FILE`].
fn lock(path: &Path) -> Result<File, StateError> {
    let folder = without_blocking(OpenOptions::new().read(true), Links::Refuse).open(path);
    match folder.map(|folder| (folder.try_lock(), folder)) {
        Ok((Ok(()), folder)) => Ok(folder),
        Ok((Err(TryLockError::WouldBlock), _)) => Err(StateError::InUse),
        Ok((Err(TryLockError::Error(_)), _)) | Err(_) => lock_file(path),
    }
}

fn lock_file(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = without_blocking(owner_only(&mut options), Links::Refuse).open(path.join(LOCK_FILE))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StateError::InUse,
        TryLockError::Error(error) => StateError::Io(error),
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_without_its_lock_file_can_be_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state");
        create(&path).unwrap();
        let folder = StateFolder { _lock: lock_file(&path).unwrap(), path: path.clone(), rights: (0, 0) };
        assert!(path.join(LOCK_FILE).exists());
        folder.remove_lock_file();
        fs::remove_dir(path).unwrap();
    }
}
