use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::ask::get;
use crate::folder::Folder;
use crate::load::{Load, Loaded};
use crate::process::Running;
use crate::redis::Redis;
use crate::row::{Goal, Row, Unit};
use crate::served::{Served, Setup};
use crate::weixin::{TWO_HOURS, Weixin};

/// How many apps share a store.
const APPS: usize = 100;

/// One round.
struct Round {
    plain: Loaded,
    bare: Loaded,
    full: Loaded,
    redis: Loaded,
    files: Loaded,
}

/// Reads a valid token.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let (upstream, weixin, store) = (Running::upstream(), Weixin::with(APPS, TWO_HOURS), Redis::start());
    let constant = format!("http://{}", upstream.said);
    let start = |name, weixin, apps, top: &str, sections| {
        Setup { name, weixin, apps, top: top.to_owned(), sections }.ready(arguments, folder)
    };
    let file = |name| folder.path(name);
    let plain = start("plain", &constant, 1, "audit = \"off\"", String::new());
    let lines = format!("audit = \"{}\"\nstate_dir = \"{}\"", file("audit"), file("full"));
    let full = start("full", &weixin.base, 1, &lines, String::new());
    let lines = format!("audit = \"off\"\nstate_dir = \"{}\"", file("files"));
    let files = start("files", &weixin.base, APPS, &lines, String::new());
    let shared = format!("[store]\nredis = \"{}\"\n", store.address());
    let redis = start("redis", &weixin.base, APPS, "audit = \"off\"", shared);
    let bare = Running::in_role(&["bare", &plain.token(0).body]);
    same_answer(&plain, &bare);
    let rounds: Vec<Round> = (0..arguments.amount(11, 5))
        .map(|_| {
            let seconds = arguments.amount(3, 1);
            Round {
                plain: plain.read(seconds),
                bare: read_bare(&bare, seconds),
                full: scraped(&full, seconds),
                redis: redis.read(seconds),
                files: files.read(seconds),
            }
        })
        .collect();
    print_rows(&rounds);
    let lost = full.metric("wxsub_audit_dropped_total", "") as f64 / full.reads() as f64;
    Row::alone("audit lines lost under that load, of 100", Unit::Count, &[lost * 100.0], &Goal::None).print();
}

fn print_rows(rounds: &[Round]) {
    let beside = |what: &str, ours: fn(&Round) -> Loaded, bare: fn(&Round) -> Loaded, least| {
        let pairs: Vec<_> = rounds.iter().map(|round| (ours(round), bare(round))).collect();
        let goal = Goal::AtLeast(least);
        let row = |what: &str, value| Row::ratio(what, Unit::PerSecond, &pairs, value, &goal).print();
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
    let what = format!("{APPS} apps in Redis, beside {APPS} apps in files");
    beside(&what, |round| round.redis, |round| round.files, 0.97);
}

fn read_bare(bare: &Running, seconds: u64) -> Loaded {
    let url = format!("{}{}", bare.said, Served::path(0, "access_token"));
    Load { url, key: "not looked at", body: None, seconds }.on(bare)
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
fn same_answer(ours: &Served, bare: &Running) {
    let (ours, bare) = (ours.token(0), get(&bare.said, &Served::path(0, "access_token"), ""));
    let names = |head: &str| {
        let mut names: Vec<_> =
            head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_lowercase())).collect();
        names.sort();
        names
    };
    assert_eq!((names(&ours.head), ours.head.len()), (names(&bare.head), bare.head.len()));
    assert_eq!(ours.body.len(), bare.body.len());
}
