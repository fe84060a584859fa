//! The properties that must hold.

use super::scenario::Scenario;
use super::state::State;
use super::step::{Act, Counted, Step};

/// Checks a step.
pub(crate) fn check_step(
    scenario: &Scenario,
    before: &State,
    step: Step,
    after: &State,
) -> Option<&'static str> {
    let Step { act, at } = step;
    if act == Act::TakeLease && before.servers[at].is_blind && after.servers[at].holds_lease {
        return Some("a server that cannot read the record takes the lease");
    }
    if before.servers[at].is_foreign && after.servers[at].is_foreign && after.servers[at].held.id != 0 {
        return Some("a server adopts a token of another upstream");
    }
    let loses_data = matches!(act, Act::Counted(Counted::StoreLosesData | Counted::RecordBreaks(true)));
    if !loses_data && after.store.token.generation < before.store.token.generation {
        return Some("an older generation replaces a newer one in the store");
    }
    if !loses_data && after.store.token.requested_at < before.store.token.requested_at {
        return Some("an older token replaces a newer one in the store");
    }
    let is_unmarked = before.store.in_doubt && !after.store.in_doubt;
    if matches!(act, Act::Poll | Act::Counted(Counted::SpareLook)) && is_unmarked {
        let mut peers = before.servers.iter().enumerate().filter(|(server, _)| *server != at);
        if peers.any(|(_, peer)| peer.owns_marker) {
            return Some("a server clears the marker of a peer's call");
        }
    }
    let (held, holds) = (before.servers[at].held, after.servers[at].held);
    if holds.id != 0 && holds.generation < held.generation {
        return Some("a server goes back to an older generation");
    }
    let without_fault = before.faults_left == scenario.start.faults_left;
    if without_fault && act == Act::Call {
        if before.servers.iter().filter(|server| server.is_calling()).count() > 1 {
            return Some("two servers call Weixin at once without a fault");
        }
        if before.servers[at].attempt.known != before.store.token.generation {
            return Some("a call without a fault invalidates a token that its caller does not know");
        }
    }
    None
}

/// Checks a state at rest: no step is possible without a new fault or refresh.
pub(crate) fn check_rest(state: &State) -> Option<&'static str> {
    if state.store.is_broken {
        return Some("at rest, the record is broken");
    }
    if state.store.token.id != state.newest {
        return Some("at rest, the stored token is invalid");
    }
    if state.servers.iter().any(|server| server.due) {
        return Some("at rest, a refresh is due and never starts");
    }
    let same = state.servers.iter().all(|server| server.held == state.store.token);
    (!same).then_some("at rest, a server holds another token than the store")
}
