//! How much is measured.

use std::path::PathBuf;

/// What the table was asked for.
pub(crate) struct Arguments {
    /// The binary, if it is to be measured too.
    pub(crate) wxsub: Option<PathBuf>,
    /// How often contenders take turns.
    pub(crate) rounds: usize,
    /// Everything is done this many times less.
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

    /// This much work, or less if it is to be quick.
    pub(crate) fn amount(&self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}
