//! Prints the table of docs/benchmarks.md: wxsub compared with the bare libraries that do the same work.
//!
//! Every contender is a separate process (this program in another role), so that its CPU time and memory are its own. So is
//! the server that all of them call. Contenders take turns, and a ratio compares two neighbours, so that other load on the
//! machine affects both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, and lives on the real clock"
)]

mod chapters;
mod contender;
mod process;

use std::path::PathBuf;

use wxsub_benches::upstream;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => upstream::run(),
        ["contender", name, server, in_flight, amount] => {
            contender::run(name, server, in_flight.parse().unwrap(), amount.parse().unwrap());
        }
        _ => chapters::print_all(&Arguments::read(&words)),
    }
}

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
