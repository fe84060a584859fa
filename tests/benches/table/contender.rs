//! The contenders: each does its work, and says what that took.

mod asking;
mod bare;
mod building;
mod by_hand;
mod ours;
mod reading;
mod sending;

/// Does what a contender of this name does.
pub(crate) fn run(name: &str, server: &str, in_flight: usize, amount: usize) {
    let measured = match name {
        "clocks" => reading::clocks(in_flight, amount),
        "current-token" => reading::current_token(in_flight, amount),
        "request" => building::ours(amount),
        "bare-request" => building::bare(amount),
        "keeper" => asking::keeper(server, amount),
        "watch" => asking::watch(amount),
        "library" => ours::send_many(server, in_flight, amount),
        _ => sending::run(name, server, in_flight, amount),
    };
    measured.tell();
}
