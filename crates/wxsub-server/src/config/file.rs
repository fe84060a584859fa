//! Files of the server: how they are opened, and how those that the configuration names are read.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, absolute};

use wxsub_proto::{LocalizedText, localized_text};

use super::document::TableReader;

/// Maximum size of a file with certificates or a key, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Maximum size of the configuration, in bytes, and of the files that it includes together. One with 10 000 apps has 2 MB.
pub(super) const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// What a symbolic link means when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// It stands for its target.
    Follow,
    /// It is an error.
    Refuse,
}

/// Reads a regular file of at most `max_bytes`.
pub(super) fn read_regular_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path, Links::Follow)?.take(max_bytes + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= max_bytes => Ok(content),
        _ => Err(io::Error::other(format!("it is larger than {max_bytes} bytes"))),
    }
}

/// Reads a regular file with a text of at most `max_bytes`.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> Result<String, LocalizedText<String>> {
    let text = read_regular_file(path, max_bytes)
        .and_then(|content| String::from_utf8(content).map_err(|_| io::Error::other("it is not UTF-8")));
    text.map_err(|error| localized_text!("cannot be read: {error}", "无法读取：{error}"))
}

/// What to say of a key that names an unreadable file. A relative path that is not found comes with the path that was tried.
pub(super) fn unreadable_file(path: impl AsRef<Path>, error: &io::Error) -> LocalizedText<String> {
    let path = path.as_ref();
    match absolute(path) {
        Ok(tried) if error.kind() == ErrorKind::NotFound && path.is_relative() => {
            let tried = tried.display();
            localized_text!(
                "names a file that cannot be read: {error}; the server looked for {tried}, because relative paths start at its working directory",
                "指定的文件无法读取：{error}；服务器查找的是 {tried}，因为相对路径从它的工作目录开始"
            )
        }
        _ => localized_text!("names a file that cannot be read: {error}", "指定的文件无法读取：{error}"),
    }
}

/// The error of opening this path. One that is relative comes with the path that was tried.
pub(crate) fn with_tried_path(path: &Path, error: io::Error) -> io::Error {
    match absolute(path) {
        Ok(tried) if path.is_relative() => {
            io::Error::new(error.kind(), format!("{error}: {}", tried.display()))
        }
        _ => error,
    }
}

/// Reads the file with certificates that this key names. `None` also if there is a problem.
pub(super) fn pem(section: &mut TableReader<'_>, key: &str) -> Option<Vec<u8>> {
    let path = section.text(key)?;
    pem_of(section, key, Path::new(&path))
}

/// As [`pem`], for this path of the key.
pub(super) fn pem_of(section: &TableReader<'_>, key: &str, path: &Path) -> Option<Vec<u8>> {
    let pem = read_regular_file(path, MAX_PEM_BYTES);
    pem.map_err(|error| section.problem(key, unreadable_file(path, &error))).ok()
}

/// Opens a regular file to read it. A FIFO or a device is refused at once: reading it could block, or never end.
pub(crate) fn open_regular(path: &Path, links: Links) -> io::Result<File> {
    let file = without_blocking(OpenOptions::new().read(true), links).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Makes opening a FIFO return at once.
#[cfg_attr(not(unix), expect(unused_variables, reason = "there are no such flags"))]
pub(crate) fn without_blocking(options: &mut OpenOptions, links: Links) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let follow = OFlags::NONBLOCK;
        let flags = if links == Links::Follow { follow } else { follow | OFlags::NOFOLLOW };
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    options
}

/// A file that is created is for this user only.
pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
