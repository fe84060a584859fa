use crate::arguments::Arguments;
use crate::measured::Measured;
use crate::process::Server;
use crate::row::{Goal, Row, Unit};

/// Reads the current token while it is valid.
pub(super) fn print(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(10_000_000);
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds {
        rounds.push(
            [("current-token", 1), ("clocks", 1), ("current-token", 2), ("clocks", 2)]
                .map(|(contender, threads)| server.measure(contender, threads, amount)),
        );
    }
    let alone: Vec<_> = rounds.iter().map(|[ours, clocks, ..]| (*ours, *clocks)).collect();
    Row::ratio(
        "read the current token, beside its two clock reads",
        Unit::Nanos,
        &alone,
        |m| m.cpu,
        &Goal::AtMost(1.5),
    )
    .print();
    // How much two threads read per CPU time of each, compared with one thread.
    let speed_up = |one: &Measured, two: &Measured| 2.0 * one.cpu / two.cpu;
    let both: Vec<_> = rounds
        .iter()
        .map(|[ours, clocks, ours_two, clocks_two]| {
            let as_cpu = |cpu| Measured { cpu, ..Measured::default() };
            (as_cpu(speed_up(ours, ours_two)), as_cpu(speed_up(clocks, clocks_two)))
        })
        .collect();
    Row::absolute(
        "the same with two threads, times one thread",
        Unit::Times,
        &both,
        |m| m.cpu,
        &Goal::AtLeast(1.6),
    )
    .print();
}
