use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::cluster::{Cluster, wait};
use crate::folder::Folder;
use crate::redis::Redis;
use crate::row::{Goal, Row, Unit};

/// Counts the commands to Redis of a server without requests.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let sizes = [1, 100, 1000];
    let servers = sizes.map(|apps| {
        let redis = Redis::start();
        let cluster = Cluster::new(arguments, folder, &redis, format!("operations-{apps}"), apps);
        let server = cluster.start();
        wait(|| server.holding() == apps);
        (redis, cluster, server)
    });
    let asked = || servers.each_ref().map(|(redis, ..)| Asked::of(redis));
    let (before, began) = (asked(), Instant::now());
    sleep(Duration::from_secs(arguments.amount(60, 10)));
    let (after, minutes) = (asked(), began.elapsed().as_secs_f64() / 60.0);
    for (place, apps) in sizes.iter().enumerate() {
        let count = |what: &str, value: fn(&Asked) -> f64| {
            let number = (value(&after[place]) - value(&before[place])) / minutes;
            Row::alone(format!("{what}, {apps} apps"), Unit::Count, &[number], &Goal::None).print();
        };
        count("round trips to Redis per server and minute", |asked| asked.scripts);
        count("commands in these", |asked| asked.commands);
    }
}

/// The commands that a Redis has received so far.
struct Asked {
    /// Scripts, one per round trip.
    scripts: f64,
    /// All commands, with those of scripts.
    commands: f64,
}

impl Asked {
    fn of(redis: &Redis) -> Self {
        let answer = redis.ask("INFO commandstats");
        let calls =
            |line: &str| -> Option<f64> { line.split_once(":calls=")?.1.split(',').next()?.parse().ok() };
        let sum = |name: &str| -> f64 {
            let lines = answer.lines().filter(|line| line.starts_with(name));
            lines.filter_map(calls).sum()
        };
        Self {
            scripts: sum("cmdstat_eval"),
            commands: sum("cmdstat_") - sum("cmdstat_info") - sum("cmdstat_quit"),
        }
    }
}
