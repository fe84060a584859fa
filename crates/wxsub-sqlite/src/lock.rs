//! The lock file beside a ledger: one process writes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;

use crate::error::{OpenError, OpenErrorKind};

/// The right to write to a ledger. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct WriterLock {
    /// Holds the lock.
    _file: File,
}

impl WriterLock {
    /// Takes the lock of this ledger, and writes down who has it.
    pub(crate) fn take(ledger: &Path, now: UnixMillis) -> Result<Self, OpenError> {
        let failed = |what| move |error| OpenError::file(ledger, what, error);
        let path = path_beside(ledger, ".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed("its lock file cannot be written"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder may be about to write it.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(OpenErrorKind::Locked(holder).at(ledger));
            }
            Err(TryLockError::Error(error)) => return Err(failed("it cannot be locked")(error)),
        }
        let holder = format!("process {} on {} since {}\n", std::process::id(), host(), rfc3339::format(now));
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .map_err(failed("its lock file cannot be written"))?;
        Ok(Self { _file: file })
    }
}

/// The path of a file beside another: with something added to its name.
pub(crate) fn path_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "this host".to_owned(),
        name => format!("host {name}"),
    }
}
