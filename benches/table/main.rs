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

use wxsub_benches::{Arguments, upstream};

fn main() {
    let words = wxsub_benches::words();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => upstream::run(),
        ["contender", name, server, in_flight, amount] => {
            contender::run(name, server, in_flight.parse().unwrap(), amount.parse().unwrap());
        }
        _ => chapters::print_all(&Arguments::read(&words)),
    }
}
