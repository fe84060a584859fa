//! Command line arguments: how much is measured.

use std::path::PathBuf;

/// The parsed arguments.
pub(crate) struct Arguments {
    /// The path of the binary.
    pub(crate) wxsub: PathBuf,
    /// Whether to measure less, for a first impression.
    pub(crate) quick: bool,
    /// Only chapters whose name begins with this.
    pub(crate) only: String,
}

impl Arguments {
    /// `--wxsub PATH [--quick] [--only CHAPTER]`
    pub(crate) fn read(words: &[String]) -> Self {
        let mut read = Self { wxsub: PathBuf::new(), quick: false, only: String::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value")).clone();
            match word.as_str() {
                "--quick" => read.quick = true,
                "--only" => read.only = value(),
                "--wxsub" => read.wxsub = value().into(),
                unknown => panic!("unknown argument {unknown}"),
            }
        }
        assert!(read.wxsub.is_file(), "--wxsub must be the binary, built with --release");
        read
    }

    /// This amount, or less with `--quick`.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
