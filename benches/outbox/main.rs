//! Prints the table of docs/benchmarks-outbox.md: an outbox on SQLite, compared with the bare database, with a client without
//! an outbox, and with apalis.
//!
//! Contenders take turns, and a ratio compares two neighbours, so that other load on the machine affects both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, and lives on the real clock"
)]

mod bare;
mod grown;
mod large;
mod ours;
mod postgres;
mod subject;

use std::path::Path;
use std::process::Command;

use tokio::runtime::{Builder, Runtime};
use wxsub_benches::{Arguments, Goal, Row, Unit, again, output, start, upstream};

fn main() {
    let words = wxsub_benches::words();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => upstream::run(),
        ["worker", url, number, messages] => {
            postgres::run_worker(url, number.parse().unwrap(), messages.parse().unwrap());
        }
        ["sender", folder, messages] => large::run_sender(Path::new(folder), messages.parse().unwrap()),
        _ => print_all(&Arguments::read(&words)),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn rounds(arguments: &Arguments) -> usize {
    arguments.rounds(5, 2)
}

type Chapter = (&'static str, fn(&Arguments));

fn print_all(arguments: &Arguments) {
    let chapters: [Chapter; 6] = [
        ("throughput", print_throughput),
        ("http", print_http),
        ("idle", print_idle),
        ("large", large::print),
        ("postgres", postgres::print),
        ("grown", grown::print),
    ];
    arguments.print(&chapters, |chapter| chapter(arguments));
}

/// From enqueue to settlement, over a transport that responds at once.
fn print_throughput(arguments: &Arguments) {
    let messages = arguments.amount(60_000, 6_000);
    let measured: Vec<_> = (0..rounds(arguments))
        .map(|_| {
            let ours = ours::throughput(messages);
            let apalis = arguments.apalis.as_deref().map(|program| on_sqlite(program, messages / 4));
            (ours, bare::throughput(messages), apalis)
        })
        .collect();
    let pairs: Vec<_> = measured.iter().map(|(ours, bare, _)| (ours.rate, *bare)).collect();
    let what = "messages per second from enqueue to settlement, instant transport: beside the bare database";
    Row::pairs(what, Unit::PerSecond, &pairs, |rate| *rate).ours(Goal::AtLeast(20_000.0)).print();
    print_beside_apalis(measured.iter().map(|(ours, _, apalis)| (ours.rate, *apalis)));
    let bytes: Vec<_> = measured.iter().map(|(ours, ..)| ours.bytes).collect();
    Row::alone("bytes of disk per sent message, with grant and history", Unit::Count, &bytes)
        .worst(Goal::AtMost(1000.0))
        .print();
}

/// Messages and jobs per second, if apalis was measured.
fn print_beside_apalis(rates: impl Iterator<Item = (f64, Option<f64>)>) {
    let pairs: Vec<_> = rates.filter_map(|(ours, apalis)| Some((ours, apalis?))).collect();
    if !pairs.is_empty() {
        Row::pairs("the same, beside apalis", Unit::PerSecond, &pairs, |rate| *rate).print();
    }
}

fn on_sqlite(program: &Path, jobs: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    apalis(program, folder.path(), jobs)
}

/// Jobs per second in this database: a folder for SQLite, or the URL of a PostgreSQL.
fn apalis(program: &Path, database: &Path, jobs: usize) -> f64 {
    output(Command::new(program).arg(database).arg(jobs.to_string())).trim().parse().unwrap()
}

/// Over HTTP, with 64 and with 256 messages in flight; and how far the bare database is from that, without HTTP.
fn print_http(arguments: &Arguments) {
    let messages = arguments.amount(60_000, 6_000);
    let upstream = start(&mut again(&["upstream"]));
    let ours = |in_flight| runtime().block_on(ours::over_http(&upstream.ready, messages, in_flight));
    let alone = |in_flight| runtime().block_on(ours::without_outbox(&upstream.ready, messages, in_flight));
    let (mut few, mut many, mut bare) = (vec![], vec![], vec![]);
    for _ in 0..rounds(arguments) {
        few.push((ours(64), alone(64)));
        many.push((ours(256), alone(256)));
        bare.push((bare::throughput(messages), few[few.len() - 1].1));
    }
    let what = "messages per second over HTTP, 64 in flight: beside wxsub-hyper without an outbox";
    Row::pairs(what, Unit::PerSecond, &few, |rate| *rate).ratio(Goal::AtLeast(0.5)).print();
    Row::pairs("the same, 256 in flight", Unit::PerSecond, &many, |rate| *rate).print();
    let what = "the bare database without HTTP: beside wxsub-hyper without an outbox, 64 in flight";
    Row::pairs(what, Unit::PerSecond, &bare, |rate| *rate).print();
}

/// A message for an outbox that has nothing to do.
fn print_idle(arguments: &Arguments) {
    let samples = arguments.amount(100, 20);
    let measured = runtime().block_on(ours::idle(samples));
    let commits: Vec<_> = measured.iter().map(|sample| sample.commits).collect();
    Row::alone("commits from the enqueue of a message until its POST, idle queue", Unit::Count, &commits)
        .ours(Goal::AtMost(2.0))
        .print();
    let pairs: Vec<_> =
        measured.iter().zip(bare::two_commits(samples)).map(|(ours, bare)| (ours.nanos, bare)).collect();
    let what = "the time of that, beside two commits of the bare database";
    Row::pairs(what, Unit::Millis, &pairs, |nanos| *nanos).print();
}
