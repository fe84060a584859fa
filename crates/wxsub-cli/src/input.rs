//! Files and standard input.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use crate::error::CliError;
use crate::exit::ExitStatus;

/// An input that was opened.
pub(crate) struct Input {
    /// Its bytes.
    pub(crate) bytes: Box<dyn Read + Send>,
    /// How many there are, where that is known.
    pub(crate) length: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input where the path is `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self { bytes: Box::new(stdin()), length: None });
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let length = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        Ok(Self { bytes: Box::new(file), length })
    }

    /// Reads all of it, but at most one byte more than `most`.
    pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        let input = Self::open(path)?;
        input
            .bytes
            .take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, &error))?;
        Ok(bytes)
    }
}

/// This input gives nothing.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(ExitStatus::Usage, format_args!("{} cannot be read: {error}", path.display()))
}
