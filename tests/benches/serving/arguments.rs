//! How much is measured.

use std::path::PathBuf;

/// What the tables were asked for.
pub(crate) struct Arguments {
    /// The binary.
    pub(crate) wxsub: PathBuf,
    /// Whether a first impression is enough.
    pub(crate) quick: bool,
    /// Only chapters whose names begin like this.
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

    /// This much, or less if it is to be quick.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
