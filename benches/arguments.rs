//! The arguments of the programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use wxsub_test_support::{Process, Stream};

use crate::Row;

/// The arguments of this program, without those of Cargo.
pub fn words() -> Vec<String> {
    std::env::args().skip(1).filter(|word| word != "--bench").collect()
}

/// This program, in another role.
pub fn again(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words);
    command
}

/// Runs a process to its end. Returns what it printed.
pub fn output(command: &mut Command) -> String {
    let ended = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(ended.status.success(), "{command:?} failed");
    String::from_utf8(ended.stdout).unwrap()
}

/// Starts a process, and reads its first line.
pub fn start(command: &mut Command) -> Process {
    Process::start(command, Stream::Stdout, "")
}

/// What to measure.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The path of the binary, built with `--release`, if it is measured too.
    pub wxsub: Option<PathBuf>,
    /// The path of the contender that uses apalis.
    pub apalis: Option<PathBuf>,
    /// The number of queued messages of the large ledger, if it is not the usual one.
    pub rows: Option<u64>,
    /// Whether to measure less, for a first impression.
    pub quick: bool,
    /// The number of rounds, if it is not the usual one.
    rounds: Option<usize>,
    /// Only chapters with this in their name.
    only: String,
}

impl Arguments {
    /// `[--wxsub PATH] [--apalis PATH] [--rows N] [--quick] [--rounds N] [--only CHAPTER]`
    pub fn read(words: &[String]) -> Self {
        let mut read = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value")).clone();
            match word.as_str() {
                "--quick" => read.quick = true,
                "--rounds" => read.rounds = Some(value().parse().unwrap()),
                "--only" => read.only = value(),
                "--apalis" => read.apalis = Some(value().into()),
                "--rows" => read.rows = Some(value().parse().unwrap()),
                "--wxsub" => read.wxsub = Some(value().into()),
                unknown => panic!("unknown argument {unknown}"),
            }
        }
        read
    }

    /// The number of rounds: this, or less with `--quick`, or what `--rounds` says.
    pub fn rounds(&self, full: usize, quick: usize) -> usize {
        self.rounds.unwrap_or(self.amount(full, quick))
    }

    /// Measures the chapters of one table, and prints it.
    pub fn print<P>(&self, chapters: &[(&str, P)], print: impl Fn(&P)) {
        Row::head();
        for (_, chapter) in chapters.iter().filter(|(name, _)| name.contains(&self.only)) {
            print(chapter);
        }
    }

    /// This amount, or less with `--quick`.
    pub fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
