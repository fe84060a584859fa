//! The contenders. Each does its work and reports a measurement.

mod asking;
mod bare;
mod building;
mod by_hand;
mod ours;
mod reading;
mod sending;

/// Runs the contender of this name.
pub(crate) fn run(name: &str, server: &str, in_flight: usize, amount: usize) {
    let measured = match name {
        "clocks" => reading::clocks(in_flight, amount),
        "current-token" => reading::current_token(in_flight, amount),
        "request" => building::ours(amount),
        "bare-request" => building::bare(amount),
        "token-cache" => asking::cache(server, amount),
        "watch" => asking::watch(amount),
        "library" => ours::send_all(server, in_flight, amount),
        _ => sending::run(name, server, in_flight, amount),
    };
    measured.tell();
}
