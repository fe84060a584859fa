//! Command line arguments: how much is measured.

use std::path::PathBuf;

/// The parsed arguments.
pub(crate) struct Arguments {
    /// The path of the binary, if it is measured too.
    pub(crate) wxsub: Option<PathBuf>,
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// All amounts are divided by this.
    pub(crate) divisor: usize,
    /// Only chapters with this in their name.
    pub(crate) only: String,
}

impl Arguments {
    /// `[--quick] [--rounds N] [--only CHAPTER] [--wxsub PATH]`
    pub(crate) fn read(words: &[String]) -> Self {
        let mut read = Self { wxsub: None, rounds: 7, divisor: 1, only: String::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value")).clone();
            match word.as_str() {
                "--quick" => (read.rounds, read.divisor) = (5, 20),
                "--rounds" => read.rounds = value().parse().expect("a number of rounds"),
                "--only" => read.only = value(),
                "--wxsub" => read.wxsub = Some(value().into()),
                unknown => panic!("unknown argument {unknown}"),
            }
        }
        read
    }

    /// This amount of work, or less with `--quick`.
    pub(crate) fn amount(&self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}
