use crate::arguments::Arguments;
use crate::process::Server;
use crate::row::{Goal, Row, Unit};

/// Ten thousand tasks that ask an empty token cache.
pub(super) fn print(arguments: &Arguments, server: &Server) {
    let pairs: Vec<_> = (0..arguments.rounds)
        .map(|_| (server.measure("token-cache", 1, 10_000), server.measure("watch", 1, 10_000)))
        .collect();
    let requests: Vec<f64> = pairs.iter().map(|(ours, _)| ours.count).collect();
    Row::alone("token requests of 10 000 tasks", Unit::Times, &requests, &Goal::AtMost(1.0)).print();
    let what = "peak memory of 10 000 tasks, beside as many that wait on a watch channel";
    Row::ratio(what, Unit::MiB, &pairs, |m| m.peak, &Goal::None).print();
    let what = "CPU per task of 10 000 tasks, beside the same";
    Row::ratio(what, Unit::Micros, &pairs, |m| m.cpu, &Goal::None).print();
}
