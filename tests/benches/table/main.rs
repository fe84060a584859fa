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

mod arguments;
mod chapter;
mod contender;
mod measured;
#[path = "../numbers/median.rs"]
mod median;
#[path = "../numbers/proc_fs.rs"]
mod proc_fs;
mod process;
#[path = "../numbers/row.rs"]
#[allow(dead_code, reason = "the table of the control server uses all of it")]
mod row;
mod server;
mod subject;

use arguments::Arguments;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => server::run(),
        ["contender", name, server, in_flight, amount] => {
            contender::run(name, server, in_flight.parse().unwrap(), amount.parse().unwrap());
        }
        _ => chapter::print_all(&Arguments::read(&words)),
    }
}
