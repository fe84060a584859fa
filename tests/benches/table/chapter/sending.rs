use crate::arguments::Arguments;
use crate::measured::Measured;
use crate::process::Server;
use crate::row::{Goal, Row, Unit};

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
pub(super) fn print(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(40_000);
    for in_flight in [1, 16, 64] {
        let rounds: Vec<[Measured; 8]> = (0..arguments.rounds)
            .map(|_| NAMES.map(|contender| server.measure(contender, in_flight, amount)))
            .collect();
        let pairs = |ours: &str, bare: &str| -> Vec<_> {
            let place = |wanted| NAMES.iter().position(|name| *name == wanted).unwrap();
            rounds.iter().map(|round| (round[place(ours)], round[place(bare)])).collect()
        };
        let cpu = |ours: &str, bare: &str, goal: &Goal| {
            let what = format!("CPU per message, {in_flight} in flight: {ours}, beside {bare}");
            Row::ratio(what, Unit::Micros, &pairs(ours, bare), |m| m.cpu, goal).print();
        };
        let resident = |ours: &str, bare: &str| {
            let what = format!("resident memory, {in_flight} in flight: {ours}, beside {bare}");
            let goal = Goal::AtMost(2048.0);
            Row::difference(what, Unit::MiB, &pairs(ours, bare), |m| m.resident, &goal).print();
        };
        cpu("wxsub-hyper", "hyper-pool-by-hand", &Goal::AtMost(1.05));
        cpu("wxsub-hyper", "hyper-pool", &Goal::AtMost(1.05));
        cpu("wxsub-hyper", "hyper-connection", &Goal::None);
        cpu("wxsub-hyper", "sockets", &Goal::None);
        cpu("wxsub-reqwest", "reqwest-by-hand", &Goal::AtMost(1.05));
        cpu("wxsub-reqwest", "reqwest", &Goal::AtMost(1.05));
        resident("wxsub-hyper", "hyper-pool");
        resident("wxsub-reqwest", "reqwest");
    }
}
