//! Files and standard input.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use crate::error::CliError;
use crate::exit::ExitStatus;

/// An open input.
pub(crate) struct Input {
    /// Its bytes.
    pub(crate) bytes: Box<dyn Read + Send>,
    /// Length in bytes; `None` if it is not a regular file.
    pub(crate) length: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input if the path is `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self { bytes: Box::new(stdin()), length: None });
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let length = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        Ok(Self { bytes: Box::new(file), length })
    }

    /// Reads at most `max + 1` bytes. A longer result than `max` means that the input is too long.
    pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        let input = Self::open(path)?;
        input
            .bytes
            .take(max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, &error))?;
        Ok(bytes)
    }
}

/// The error for an input that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(ExitStatus::Usage, format_args!("{} cannot be read: {error}", path.display()))
}
