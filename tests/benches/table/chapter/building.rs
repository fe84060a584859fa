use crate::arguments::Arguments;
use crate::process::Server;
use crate::row::{Goal, Row, Unit};

/// Builds one request.
pub(super) fn print(arguments: &Arguments, server: &Server) {
    let amount = arguments.amount(1_000_000);
    let pairs: Vec<_> = (0..arguments.rounds)
        .map(|_| (server.measure("request", 1, amount), server.measure("bare-request", 1, amount)))
        .collect();
    let what = "build one subscribe request, beside serde_json and http by hand";
    Row::absolute(what, Unit::Micros, &pairs, |m| m.cpu, &Goal::AtMost(1e3)).print();
}
