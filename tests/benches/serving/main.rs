//! Prints the tables of docs/benchmarks-server.md: the control server compared with bare servers that do the same work, and
//! several servers around one Redis.
//!
//! Each contender is a separate process on one core. Its callers run on another core. Contenders take turns, and a ratio
//! compares two neighbours, so that other load on the machine affects both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, and lives on the real clock"
)]

mod arguments;
mod ask;
mod bare;
mod chapter;
mod cluster;
mod folder;
mod forwarder;
mod load;
#[path = "../numbers/median.rs"]
mod median;
#[path = "../numbers/proc_fs.rs"]
#[allow(dead_code, reason = "the other table uses all of it")]
mod proc_fs;
mod process;
#[path = "../../redis/server.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod redis;
#[path = "../numbers/row.rs"]
#[allow(dead_code, reason = "the other table uses the rest of it")]
mod row;
mod served;
#[path = "../table/subject.rs"]
#[allow(dead_code, reason = "the other table uses all of it")]
mod subject;
#[path = "../table/server.rs"]
mod upstream;
mod weixin;

use std::process::Command;

use arguments::Arguments;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", answer] => bare::run(answer),
        ["forwarder", upstream] => forwarder::run(upstream),
        ["upstream"] => upstream::run(),
        ["measure", ..] => chapter::print_all(&Arguments::read(&words[1..])),
        _ => measure_from_core(process::CALLERS, &words),
    }
}

/// Starts this program again, on the core of the callers. It runs the sandbox.
fn measure_from_core(core: &str, words: &[String]) {
    let program = std::env::current_exe().unwrap();
    let mut pinned = Command::new("taskset");
    let ended = pinned.args(["--cpu-list", core]).arg(program).arg("measure").args(words).status();
    let ended = ended.expect("taskset of util-linux, to give each side a core of its own");
    std::process::exit(ended.code().unwrap_or(1));
}
