//! The chapters of the table.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use wxsub_benches::{Arguments, Goal, Row, Unit, subject};
use wxsub_test_support::proc_fs;

use crate::process::{Measured, Server};

type Chapter = (&'static str, fn(&Arguments, &Server));

fn rounds(arguments: &Arguments) -> usize {
    arguments.rounds(7, 5)
}

/// Measures everything and prints it.
pub(crate) fn print_all(arguments: &Arguments) {
    let server = Server::start();
    let chapters: [Chapter; 5] = [
        ("reading", print_reading),
        ("building", print_building),
        ("sending", print_sending),
        ("file", print_file),
        ("asking", print_asking),
    ];
    arguments.print(&chapters, |chapter| chapter(arguments, &server));
}

/// Reads the current token while it is valid.
fn print_reading(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(10_000_000, 500_000);
    let contenders = [("current-token", 1), ("clocks", 1), ("current-token", 2), ("clocks", 2)];
    let measured: Vec<_> = (0..rounds(arguments))
        .map(|_| contenders.map(|(contender, threads)| server.measure(contender, threads, amount)))
        .collect();
    let alone: Vec<_> = measured.iter().map(|[ours, clocks, ..]| (*ours, *clocks)).collect();
    let what = "read the current token, beside its two clock reads";
    Row::pairs(what, Unit::Nanos, &alone, |m| m.cpu).ratio(Goal::AtMost(1.5)).print();
    // How much two threads read per CPU time of each, compared with one thread.
    let speed_up = |one: &Measured, two: &Measured| 2.0 * one.cpu / two.cpu;
    let both: Vec<_> = measured
        .iter()
        .map(|[ours, clocks, ours_two, clocks_two]| (speed_up(ours, ours_two), speed_up(clocks, clocks_two)))
        .collect();
    let what = "the same with two threads, times one thread";
    Row::pairs(what, Unit::Times, &both, |times| *times).ours(Goal::AtLeast(1.6)).print();
}

/// Builds one request.
fn print_building(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(1_000_000, 50_000);
    let pairs: Vec<_> = (0..rounds(arguments))
        .map(|_| (server.measure("request", 1, amount), server.measure("bare-request", 1, amount)))
        .collect();
    let what = "build one subscribe request, beside serde_json and http by hand";
    Row::pairs(what, Unit::Micros, &pairs, |m| m.cpu).ours(Goal::AtMost(1e3)).print();
}

/// The contenders in order. Ours stand between those they are compared with.
const NAMES: [&str; 8] = [
    "sockets",
    "hyper-connection",
    "hyper-pool",
    "wxsub-hyper",
    "hyper-pool-by-hand",
    "reqwest",
    "wxsub-reqwest",
    "reqwest-by-hand",
];

/// Sends with 1, 16 and 64 messages in flight.
fn print_sending(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(40_000, 2_000);
    for in_flight in [1, 16, 64] {
        let rounds: Vec<[Measured; 8]> = (0..rounds(arguments))
            .map(|_| NAMES.map(|contender| server.measure(contender, in_flight, amount)))
            .collect();
        let pairs = |ours: &str, bare: &str| -> Vec<_> {
            let place = |wanted| NAMES.iter().position(|name| *name == wanted).unwrap();
            rounds.iter().map(|round| (round[place(ours)], round[place(bare)])).collect()
        };
        let cpu = |ours: &str, bare: &str| {
            let what = format!("CPU per message, {in_flight} in flight: {ours}, beside {bare}");
            Row::pairs(what, Unit::Micros, &pairs(ours, bare), |m| m.cpu)
        };
        let resident = |ours: &str, bare: &str| {
            let what = format!("resident memory, {in_flight} in flight: {ours}, beside {bare}");
            let row = Row::pairs(what, Unit::MiB, &pairs(ours, bare), |m| m.resident);
            row.difference(Goal::AtMost(2048.0)).print();
        };
        cpu("wxsub-hyper", "hyper-pool-by-hand").ratio(Goal::AtMost(1.05)).print();
        cpu("wxsub-hyper", "hyper-pool").ratio(Goal::AtMost(1.05)).print();
        cpu("wxsub-hyper", "hyper-connection").print();
        cpu("wxsub-hyper", "sockets").print();
        cpu("wxsub-reqwest", "reqwest-by-hand").ratio(Goal::AtMost(1.05)).print();
        cpu("wxsub-reqwest", "reqwest").ratio(Goal::AtMost(1.05)).print();
        resident("wxsub-hyper", "hyper-pool");
        resident("wxsub-reqwest", "reqwest");
    }
}

const IN_FLIGHT: usize = 16;

/// `wxsub send --file`, compared with the library that it uses.
fn print_file(arguments: &Arguments, server: &Server) {
    let Some(wxsub) = &arguments.wxsub else {
        eprintln!("without --wxsub PATH nothing is said about `wxsub send --file`");
        return;
    };
    let (short, long) = (arguments.amount(100_000, 5_000), arguments.amount(1_000_000, 50_000));
    let (short_file, long_file) = (messages(short), messages(long));
    let pairs: Vec<_> = (0..rounds(arguments))
        .map(|_| {
            let ours = send(wxsub, short_file.path(), server, short);
            (ours, server.measure("library", IN_FLIGHT, short))
        })
        .collect();
    let what = format!("`wxsub send --file`, {short} messages, beside the library alone: CPU per message");
    Row::pairs(what, Unit::Micros, &pairs, |m| m.cpu).print();
    let what =
        format!("`wxsub send --file`, {short} messages, beside the library alone: messages per second");
    Row::pairs(what, Unit::PerSecond, &pairs, |m| m.rate).print();

    let whole = (send(wxsub, long_file.path(), server, long), server.measure("library", IN_FLIGHT, long));
    let what = format!("the same, {long} messages, one run");
    Row::pairs(what, Unit::PerSecond, &[whole], |m| m.rate).print();
    let lengths: Vec<_> = pairs.iter().map(|(short, _)| (whole.0, *short)).collect();
    let what = format!("peak memory of `wxsub send --file`, {long} messages, beside {short}");
    Row::pairs(what, Unit::MiB, &lengths, |m| m.peak).difference(Goal::AtMost(64.0 * 1024.0)).print();
}

/// A file with this many messages. It is deleted when this is dropped.
fn messages(amount: usize) -> NamedTempFile {
    let mut file = BufWriter::new(NamedTempFile::new().unwrap());
    // Each line is for another user, because a second message to the same one would be a duplicate.
    let line = String::from_utf8(subject::message().to_json()).unwrap();
    let (before, after) = line.split_once("\"touser\":\"").unwrap();
    for number in 0..amount {
        writeln!(file, "{before}\"touser\":\"u{number}{after}").unwrap();
    }
    file.into_inner().unwrap()
}

fn send(wxsub: &Path, file: &Path, server: &Server, messages: usize) -> Measured {
    let began = Instant::now();
    let mut running = Command::new(wxsub)
        .args(["send", "--concurrency", &IN_FLIGHT.to_string(), "--file"])
        .arg(file)
        .env_clear()
        .env("WXSUB_APPID", subject::app().as_str())
        .env("WXSUB_SECRET", subject::secret().expose_secret())
        .env("WXSUB_API_BASE", format!("http://{}", server.address()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = running.id().to_string();
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    // CPU time after the last sample is lost: up to 20 ms.
    let ended = loop {
        if let Some(ended) = running.try_wait().unwrap() {
            break ended;
        }
        cpu = cpu.max(proc_fs::cpu(&process));
        peak = proc_fs::peak(&process).unwrap_or(0).max(peak);
        sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "wxsub send: {ended}");
    Measured {
        cpu: cpu.as_nanos() as f64 / messages as f64,
        rate: messages as f64 / began.elapsed().as_secs_f64(),
        resident: peak as f64,
        peak: peak as f64,
        count: messages as f64,
    }
}

/// Ten thousand tasks that ask an empty token cache.
fn print_asking(arguments: &Arguments, server: &Server) {
    let pairs: Vec<_> = (0..rounds(arguments))
        .map(|_| (server.measure("token-cache", 1, 10_000), server.measure("watch", 1, 10_000)))
        .collect();
    let requests: Vec<f64> = pairs.iter().map(|(ours, _)| ours.count).collect();
    Row::alone("token requests of 10 000 tasks", Unit::Times, &requests).ours(Goal::AtMost(1.0)).print();
    let what = "peak memory of 10 000 tasks, beside as many that wait on a watch channel";
    Row::pairs(what, Unit::MiB, &pairs, |m| m.peak).print();
    let what = "CPU per task of 10 000 tasks, beside the same";
    Row::pairs(what, Unit::Micros, &pairs, |m| m.cpu).print();
}
