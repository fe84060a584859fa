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

mod bare;
mod cluster;
mod ledger;
mod one_server;
mod process;
mod served;

use std::process::Command;

use wxsub_benches::{Arguments, upstream};

use served::Folder;

fn main() {
    let words = wxsub_benches::words();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", response] => bare::run_constant(response),
        ["forwarder", upstream] => bare::run_forwarder(upstream),
        ["upstream"] => upstream::run(),
        ["measure", ..] => print_all(&Arguments::read(&words[1..])),
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

type Chapter = (&'static str, fn(&Arguments, &Folder));

/// Measures everything and prints it.
fn print_all(arguments: &Arguments) {
    let folder = Folder::new();
    let one: [Chapter; 4] = [
        ("reading", one_server::print_reading),
        ("refreshing", one_server::print_refreshing),
        ("sending", one_server::print_sending),
        ("ledger", ledger::print),
    ];
    let several: [Chapter; 4] = [
        ("operations", cluster::print_operations),
        ("idle", cluster::print_idle),
        ("takeover", cluster::print_takeover),
        ("spreading", cluster::print_spreading),
    ];
    arguments.print(&one, |chapter| chapter(arguments, &folder));
    println!();
    arguments.print(&several, |chapter| chapter(arguments, &folder));
}
