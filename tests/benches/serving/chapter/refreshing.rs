use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::folder::Folder;
use crate::load::Loaded;
use crate::row::{Goal, Row, Unit};
use crate::served::Setup;
use crate::weixin::Weixin;

const APPS: usize = 500;

/// A lifetime so short that all apps refresh within a few seconds: at half of it ± 10 %.
const LIFE: Duration = Duration::from_secs(20);

/// One server from its start to after its first refresh.
struct Round {
    quiet: Loaded,
    busy: Loaded,
    refreshes: f64,
    resident: f64,
    peak: f64,
}

/// Reads while all apps are refreshed.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let rounds: Vec<Round> =
        (0..arguments.amount(7, 1)).map(|number| round(arguments, folder, number)).collect();
    let all = |value: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(value).collect() };
    let memory = |what, value: fn(&Round) -> f64| {
        Row::worst(what, Unit::MiB, &all(value), &Goal::AtMost(40.0 * 1024.0)).print();
    };
    memory("resident memory, 500 apps, 64 connections", |round| round.resident);
    memory("the most it ever was", |round| round.peak);
    let pairs: Vec<_> = rounds.iter().map(|round| (round.busy, round.quiet)).collect();
    let what = "99 of 100 reads within: while all 500 apps refresh, beside the same server before that";
    Row::ratio(what, Unit::Millis, &pairs, |m| m.p99, &Goal::AtMost(2.0)).print();
    Row::ratio("half of the reads within: the same", Unit::Millis, &pairs, |m| m.median, &Goal::None).print();
    Row::ratio("token reads per second: the same", Unit::PerSecond, &pairs, |m| m.rate, &Goal::None).print();
    let refreshes = all(|round| round.refreshes);
    Row::alone("refreshes while it was measured", Unit::Count, &refreshes, &Goal::None).print();
}

fn round(arguments: &Arguments, folder: &Folder, number: usize) -> Round {
    let weixin = Weixin::with(APPS, LIFE);
    let name = format!("refreshing-{number}");
    let top = format!("audit = \"off\"\nstate_dir = \"{}\"", folder.path(&name));
    let began = Instant::now();
    let setup = Setup { name: &name, weixin: &weixin.base, apps: APPS, top, sections: String::new() };
    let server = setup.ready(arguments, folder);
    // The oldest token is as old as this process, the newest was fetched now.
    let (first, last) = (began + LIFE * 9 / 20, Instant::now() + LIFE * 11 / 20);
    let seconds = (last - first).as_secs() + 2;
    sleep_until(first - Duration::from_secs(seconds + 1));
    let quiet = server.read(seconds);
    let before = server.fetched();
    assert!(before == APPS as u64 && Instant::now() < first, "it was not quiet");
    sleep_until(first);
    let busy = server.read(seconds);
    let refreshes = server.fetched() - before;
    assert!(refreshes >= APPS as u64 * 9 / 10, "{refreshes} refreshes only");
    let (resident, peak) = (server.process.resident(), server.process.peak());
    Round { quiet, busy, refreshes: refreshes as f64, resident, peak }
}

fn sleep_until(moment: Instant) {
    sleep(moment.saturating_duration_since(Instant::now()));
}
