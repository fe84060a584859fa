//! Chapters with one server: reading, refreshing, sending.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use wxsub_benches::{Arguments, Goal, Row, Unit, subject};
use wxsub_test_support::{Process, Redis, proc_fs};

use crate::process::{self, JSON, Load, Loaded};
use crate::served::{Folder, Served, Setup, TWO_HOURS, Weixin, get};

/// How many apps share a store.
const SHARED_APPS: usize = 100;

/// One round of reading.
struct Reading {
    plain: Loaded,
    bare: Loaded,
    full: Loaded,
    redis: Loaded,
    files: Loaded,
}

/// Reads a valid token.
pub(crate) fn print_reading(arguments: &Arguments, folder: &Folder) {
    let (upstream, weixin, store) =
        (process::upstream(), Weixin::with(SHARED_APPS, TWO_HOURS), Redis::start());
    let constant = format!("http://{}", upstream.ready);
    let start = |name, weixin, apps, top: &str, sections| {
        Setup { name, weixin, apps, top: top.to_owned(), sections }.ready(arguments, folder)
    };
    let file = |name| folder.path(name);
    let plain = start("plain", &constant, 1, "audit = \"off\"", String::new());
    let lines = format!("audit = \"{}\"\nstate_dir = \"{}\"", file("audit"), file("full"));
    let full = start("full", &weixin.base, 1, &lines, String::new());
    let lines = format!("audit = \"off\"\nstate_dir = \"{}\"", file("files"));
    let files = start("files", &weixin.base, SHARED_APPS, &lines, String::new());
    let shared = format!("[store]\nredis = \"{}\"\n", store.address());
    let redis = start("redis", &weixin.base, SHARED_APPS, "audit = \"off\"", shared);
    let bare = process::in_role(&["bare", &plain.token(0).body]);
    same_answer(&plain, &bare);
    let rounds: Vec<Reading> = (0..arguments.rounds(11, 5))
        .map(|_| {
            let seconds = arguments.amount(3, 1);
            Reading {
                plain: plain.read(seconds),
                bare: read_bare(&bare, seconds),
                full: scraped(&full, seconds),
                redis: redis.read(seconds),
                files: files.read(seconds),
            }
        })
        .collect();
    print_rows(&rounds);
    let lost = full.metric("wxsub_audit_failures_total", "") as f64
        / full.metric("wxsub_token_reads_total", "") as f64;
    Row::alone("audit lines lost under that load, of 100", Unit::Count, &[lost * 100.0]).print();
}

fn print_rows(rounds: &[Reading]) {
    let beside = |what: &str, ours: fn(&Reading) -> Loaded, bare: fn(&Reading) -> Loaded, least| {
        let pairs: Vec<_> = rounds.iter().map(|round| (ours(round), bare(round))).collect();
        let row = |what: &str, value| {
            Row::pairs(what, Unit::PerSecond, &pairs, value).ratio(Goal::AtLeast(least)).print();
        };
        row(&format!("token reads per second of CPU time: {what}"), |m| 1e9 / m.cpu);
        row("the same per second that passed", |m| m.rate);
    };
    beside("key checked, beside a bare axum server", |round| round.plain, |round| round.bare, 0.85);
    beside(
        "with a sandbox as Weixin, an audit file, metrics scraped, beside the same bare server",
        |round| round.full,
        |round| round.bare,
        0.7,
    );
    let what = format!("{SHARED_APPS} apps in Redis, beside {SHARED_APPS} apps in files");
    beside(&what, |round| round.redis, |round| round.files, 0.97);
}

fn read_bare(bare: &Process, seconds: u64) -> Loaded {
    let url = format!("{}{}", bare.ready, Served::path(0, "access_token"));
    Load { url, key: "not looked at", body: None, content_type: JSON, seconds }.on(bare)
}

/// The same, while the metrics are scraped twice a second.
fn scraped(server: &Served, seconds: u64) -> Loaded {
    let over = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(get(&server.base, "/metrics", "").status, 200);
                sleep(Duration::from_millis(500));
            }
        });
        let loaded = server.read(seconds);
        over.store(true, Ordering::Relaxed);
        loaded
    })
}

/// Checks that both responses have the same headers and size.
fn same_answer(ours: &Served, bare: &Process) {
    let (ours, bare) = (ours.token(0), get(&bare.ready, &Served::path(0, "access_token"), ""));
    let names = |head: &str| {
        let mut names: Vec<_> =
            head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_lowercase())).collect();
        names.sort();
        names
    };
    assert_eq!((names(&ours.head), ours.head.len()), (names(&bare.head), bare.head.len()));
    assert_eq!(ours.body.len(), bare.body.len());
}

const REFRESHED_APPS: usize = 500;

/// A lifetime so short that all apps refresh within a few seconds: at half of it ± 10 %.
const SHORT_LIFETIME: Duration = Duration::from_secs(20);

/// One server from its start to after its first refresh.
struct Refreshing {
    quiet: Loaded,
    busy: Loaded,
    refreshes: f64,
    resident: f64,
    peak: f64,
}

/// Reads while all apps are refreshed.
pub(crate) fn print_refreshing(arguments: &Arguments, folder: &Folder) {
    let rounds: Vec<Refreshing> =
        (0..arguments.rounds(7, 1)).map(|number| refresh_all(arguments, folder, number)).collect();
    let all = |value: fn(&Refreshing) -> f64| -> Vec<f64> { rounds.iter().map(value).collect() };
    let memory = |what, value: fn(&Refreshing) -> f64| {
        Row::alone(what, Unit::MiB, &all(value)).worst(Goal::AtMost(40.0 * 1024.0)).print();
    };
    memory("resident memory, 500 apps, 64 connections", |round| round.resident);
    memory("the most it ever was", |round| round.peak);
    let pairs: Vec<_> = rounds.iter().map(|round| (round.busy, round.quiet)).collect();
    let what = "99 of 100 reads within: while all 500 apps refresh, beside the same server before that";
    Row::pairs(what, Unit::Millis, &pairs, |m| m.p99).ratio(Goal::AtMost(2.0)).print();
    Row::pairs("half of the reads within: the same", Unit::Millis, &pairs, |m| m.median).print();
    Row::pairs("token reads per second: the same", Unit::PerSecond, &pairs, |m| m.rate).print();
    let refreshes = all(|round| round.refreshes);
    Row::alone("refreshes while it was measured", Unit::Count, &refreshes).print();
}

fn refresh_all(arguments: &Arguments, folder: &Folder, number: usize) -> Refreshing {
    let weixin = Weixin::with(REFRESHED_APPS, SHORT_LIFETIME);
    let name = format!("refreshing-{number}");
    let top = format!("audit = \"off\"\nstate_dir = \"{}\"", folder.path(&name));
    let began = Instant::now();
    let setup =
        Setup { name: &name, weixin: &weixin.base, apps: REFRESHED_APPS, top, sections: String::new() };
    let server = setup.ready(arguments, folder);
    // The oldest token is as old as this process, the newest was fetched now.
    let (first, last) = (began + SHORT_LIFETIME * 9 / 20, Instant::now() + SHORT_LIFETIME * 11 / 20);
    let seconds = (last - first).as_secs() + 2;
    sleep_until(first - Duration::from_secs(seconds + 1));
    let quiet = server.read(seconds);
    let before = server.fetched();
    assert!(before == REFRESHED_APPS as u64 && Instant::now() < first, "it was not quiet");
    sleep_until(first);
    let busy = server.read(seconds);
    let refreshes = server.fetched() - before;
    assert!(refreshes >= REFRESHED_APPS as u64 * 9 / 10, "{refreshes} refreshes only");
    let process = server.process.id();
    let [resident, peak] =
        [proc_fs::resident(&process), proc_fs::peak(&process)].map(|memory| memory.unwrap() as f64);
    Refreshing { quiet, busy, refreshes: refreshes as f64, resident, peak }
}

fn sleep_until(moment: Instant) {
    sleep(moment.saturating_duration_since(Instant::now()));
}

/// Sends through the server, and compares with forwarding a body.
pub(crate) fn print_sending(arguments: &Arguments, folder: &Folder) {
    let upstream = process::upstream();
    let constant = format!("http://{}", upstream.ready);
    let start = |name, audit: &str| {
        let top = format!("audit = \"{audit}\"");
        Setup { name, weixin: &constant, apps: 1, top, sections: String::new() }.ready(arguments, folder)
    };
    let (plain, audited) = (start("sending", "off"), start("audited", &folder.path("sent")));
    let hops = process::in_role(&["forwarder", &constant]);
    let message = String::from_utf8(subject::message().to_json()).unwrap();
    let seconds = arguments.amount(3, 1);
    let rounds: Vec<[Loaded; 3]> = (0..arguments.rounds(11, 5))
        .map(|_| {
            let passed_on = Load {
                url: hops.ready.clone(),
                key: "not looked at",
                body: Some(&message),
                content_type: JSON,
                seconds,
            };
            [
                plain.post("messages", &message, seconds),
                passed_on.on(&hops),
                audited.post("messages", &message, seconds),
            ]
        })
        .collect();
    for (place, what) in [(0, "without an audit"), (2, "with an audit file")] {
        let pairs: Vec<_> = rounds.iter().map(|round| (round[place], round[1])).collect();
        let cpu = format!("CPU per message sent through the server, {what}, beside two plain hyper hops");
        Row::pairs(cpu, Unit::Micros, &pairs, |m| m.cpu).ratio(Goal::AtMost(1.3)).print();
        Row::pairs("messages per second of the same", Unit::PerSecond, &pairs, |m| m.rate).print();
    }
}
